/* Descope's error codes. Its clients retry 503 and 504 three times over ten seconds, so overload is 429 here and an outage 500. */
#include "dialects/descope/descope.h"

const struct dialect_error descope_errors[] = {
    {ST_NOT_FOUND, M_IDENTITY_GET_USER, NULL, 404, "E062108", "User not found"},
    {ST_NOT_FOUND, M_IDENTITY_LOOKUP_USERS, NULL, 404, "E112102", "User not found"},
    {ST_NOT_FOUND, M_IDENTITY_UPDATE_USER, NULL, 404, "E112102", "User not found"},
    {ST_NOT_FOUND, M_SESSION_LIST_SESSIONS, NULL, 404, "E112102", "User not found"},
    {ST_NOT_FOUND, 0, NULL, 404, "E011001", "Request is malformed"},
    {ST_ALREADY_EXISTS, M_IDENTITY_UPDATE_USER, NULL, 409, "E111127", "User already exists"},
    {ST_ALREADY_EXISTS, 0, NULL, 409, "E062107", "User already exists"},
    {ST_INVALID_ARGUMENT, 0, "loginId", 400, "E011002", "Arguments are missing"},
    {ST_INVALID_ARGUMENT, 0, "", 400, "E011001", "Request is malformed"},
    {ST_INVALID_ARGUMENT, 0, NULL, 400, "E011003", "Request failed validation"},
    {ST_MALFORMED_REQUEST, 0, NULL, 400, "E011001", "Request is malformed"},
    {ST_UNAUTHENTICATED, 0, NULL, 401, "E111119", "Unauthorized"},
    {ST_PERMISSION_DENIED, 0, NULL, 403, "E111119", "Unauthorized"},
    {ST_INVALID_TOKEN, 0, NULL, 401, "E064001", "Expired due to logout"},
    {ST_ACCOUNT_DISABLED, 0, NULL, 403, "E064001", "Expired due to logout"},
    {ST_CONFLICT, 0, NULL, 409, "E011004", "Invalid arguments"},
    {ST_METHOD_NOT_ALLOWED, 0, NULL, 405, "E011001", "Request is malformed"},
    {ST_CONTENT_TOO_LARGE, 0, NULL, 413, "E011001", "Request is malformed"},
    {ST_UNSUPPORTED_MEDIA_TYPE, 0, NULL, 415, "E011001", "Request is malformed"},
    {ST_RESOURCE_EXHAUSTED, 0, NULL, 429, "E130429", "API rate limit exceeded."},
    {ST_THROTTLED, 0, NULL, 429, "E130429", "API rate limit exceeded."},
    {ST_UNAVAILABLE, 0, NULL, 500, "E011001", "The service is not available now"},
    {ST_OK, 0, NULL, 500, "E011001", "The request failed"},
};
