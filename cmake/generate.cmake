# denizen_statements(name rows file...): <name>_sql.gen.{h,c} of the statements in .sql files (proto/gen/statements.py) in the current build folder,
# and <name>.sql for psql. rows: the service's rows.proto or "-". Sets <name>_statements to the generated sources.
function(denizen_statements name rows)
  set(out ${CMAKE_CURRENT_BINARY_DIR})
  set(gen ${PROJECT_SOURCE_DIR}/proto/gen)
  set(made ${out}/${name}_sql.gen.c ${out}/${name}_sql.gen.h)
  set(depends ${ARGN})
  if(NOT rows STREQUAL "-")
    list(APPEND depends ${rows})
  endif()
  add_custom_command(OUTPUT ${made}
    COMMAND ${Python3_EXECUTABLE} -B ${gen}/statements.py ${name} ${out} ${rows} ${ARGN}
    DEPENDS ${depends} ${gen}/statements.py ${gen}/reader.py ${gen}/model.py VERBATIM)
  set(${name}_statements ${made} PARENT_SCOPE)
endfunction()

# denizen_service(NAME library...): lib<name> with everything but main.c, and the program denizen-<name>. Sources and statements stand in the
# service's folder or, by noun, one below. Generated: the migrations in schema/ as <name>_migrations (common/db/migrate.h), the statements, the row
# messages of rows.proto, and the table and prototypes of its handlers (proto/gen/handlers.py).
function(denizen_service name)
  set(out ${CMAKE_CURRENT_BINARY_DIR})
  set(gen ${PROJECT_SOURCE_DIR}/proto/gen)
  file(GLOB sources CONFIGURE_DEPENDS *.c */*.c)
  list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/main.c)
  file(GLOB migrations CONFIGURE_DEPENDS schema/*.sql)
  add_custom_command(OUTPUT ${out}/${name}_migrations.gen.c
    COMMAND ${Python3_EXECUTABLE} ${gen}/embed_migrations.py ${name} ${out}/${name}_migrations.gen.c ${migrations}
    DEPENDS ${migrations} ${gen}/embed_migrations.py VERBATIM)
  file(GLOB contract CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/proto/*.proto)
  add_custom_command(OUTPUT ${out}/${name}_handlers.gen.c ${out}/${name}_handlers.gen.h
    COMMAND ${Python3_EXECUTABLE} -B ${gen}/handlers.py ${PROJECT_SOURCE_DIR}/proto ${name} ${out}
    DEPENDS ${contract} ${gen}/handlers.py ${gen}/contract.py ${gen}/reader.py ${gen}/model.py ${gen}/checker.py VERBATIM)
  list(APPEND sources ${out}/${name}_migrations.gen.c ${out}/${name}_handlers.gen.c ${out}/${name}_handlers.gen.h)
  set(rows -)
  if(EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/rows.proto)
    set(rows ${CMAKE_CURRENT_SOURCE_DIR}/rows.proto)
    add_custom_command(OUTPUT ${out}/${name}/rows.pb-c.c ${out}/${name}/rows.pb-c.h
      COMMAND ${PROTOC_C} -I${PROJECT_SOURCE_DIR}/services --c_out=${out} ${rows} DEPENDS ${rows} VERBATIM)
    list(APPEND sources ${out}/${name}/rows.pb-c.c ${out}/${name}/rows.pb-c.h)
  endif()
  file(GLOB statements CONFIGURE_DEPENDS statements.sql */statements.sql)
  if(statements)
    denizen_statements(${name} ${rows} ${PROJECT_SOURCE_DIR}/common/ledger/effects.sql ${statements})
    list(APPEND sources ${${name}_statements})
  endif()
  add_library(${name}_service STATIC ${sources})
  target_include_directories(${name}_service PUBLIC ${CMAKE_CURRENT_SOURCE_DIR} ${out})
  target_link_libraries(${name}_service PUBLIC denizen_common PRIVATE warnings ${ARGN})
  add_executable(denizen-${name} main.c)
  target_link_libraries(denizen-${name} PRIVATE ${name}_service warnings)
endfunction()
