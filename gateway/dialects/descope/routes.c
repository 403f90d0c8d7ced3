/* Descope's routes. Management asks with a key, /v1/auth/me with a user's token. */
#include "dialects/descope/descope.h"

#define MANAGEMENT .accepts = CALLER_KEYS
#define USER .accepts = CALLER_BIT(CALLER_USER), .permission = "none"

const struct dialect_route descope_routes[] = {
    {.verb = "GET", .path = "/v1/mgmt/license", MANAGEMENT, .permission = "none", .answer = descope_answer_license},
    {.verb = "GET",
     .path = "/v1/mgmt/user",
     .method = M_IDENTITY_LOOKUP_USERS,
     MANAGEMENT,
     .permission = "users:read",
     .map_in = descope_load_in,
     .map_out = descope_load_out},
    {.verb = "POST",
     .path = "/v1/mgmt/user/create",
     .method = M_IDENTITY_CREATE_USER,
     MANAGEMENT,
     .permission = "users:write",
     .map_in = descope_create_in,
     .map_out = descope_user_out},
    {.verb = "POST",
     .path = "/v1/mgmt/user/update",
     .method = M_IDENTITY_UPDATE_USER,
     MANAGEMENT,
     .permission = "users:write",
     .answer = descope_answer_update},
    {.verb = "POST",
     .path = "/v1/mgmt/user/history",
     .method = M_SESSION_LIST_SESSIONS,
     MANAGEMENT,
     .permission = "sessions:read",
     .answer = descope_answer_history},
    {.verb = "GET",
     .path = "/v1/auth/me",
     .method = M_IDENTITY_GET_USER,
     USER,
     .map_in = descope_me_in,
     .map_out = descope_me_out},
    {0},
};
