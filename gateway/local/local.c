/* Which methods of the contract the gateway answers itself or in its own way. */
#include "local/local.h"

const struct local_method local_methods[] = {
    {M_GATEWAY_INTROSPECT, introspect_serve}, {M_CLAIMS_GET_JWKS, jwks_serve},   {M_GATEWAY_IMPORT_USERS, import_serve},
    {M_GATEWAY_EXPORT_USERS, export_serve},   {M_AUDIT_READ_EVENTS, feed_serve}, {0, NULL},
};
