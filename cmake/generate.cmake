# denizen_service(NAME source...): lib<name> with everything but main.c, and the program denizen-<name>.
# The migrations in schema/ are embedded as <name>_migrations (common/db/migrate.h).
function(denizen_service name)
  file(GLOB sources CONFIGURE_DEPENDS *.c)
  list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/main.c)
  file(GLOB migrations CONFIGURE_DEPENDS schema/*.sql)
  set(embedded ${CMAKE_CURRENT_BINARY_DIR}/${name}_migrations.gen.c)
  add_custom_command(OUTPUT ${embedded}
    COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/proto/gen/embed_migrations.py ${name} ${embedded} ${migrations}
    DEPENDS ${migrations} ${PROJECT_SOURCE_DIR}/proto/gen/embed_migrations.py VERBATIM)
  add_library(${name}_service STATIC ${sources} ${embedded})
  target_include_directories(${name}_service PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(${name}_service PUBLIC denizen_common PRIVATE warnings ${ARGN})
  add_executable(denizen-${name} main.c)
  target_link_libraries(denizen-${name} PRIVATE ${name}_service warnings)
endfunction()
