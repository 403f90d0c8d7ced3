/* Embeds docs/api/openapi.json into the program; without the file the document is empty. */
#include "local.h"

#ifdef OPENAPI_FILE
__asm__(".section .rodata\n"
        ".global openapi_json\n"
        "openapi_json:\n"
        ".incbin \"" OPENAPI_FILE "\"\n"
        "openapi_end:\n"
        ".byte 0\n"
        ".balign 8\n"
        ".global openapi_json_len\n"
        "openapi_json_len:\n"
        ".quad openapi_end - openapi_json\n"
        ".previous\n");
#else
const char openapi_json[] = "";
const unsigned long openapi_json_len = 0;
#endif
