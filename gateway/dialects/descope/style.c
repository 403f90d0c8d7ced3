/* How Descope writes JSON: camelCase, everything present, seconds since 1970, unknown members and nulls ignored. */
#include "dialects/descope/descope.h"

static const struct pbjson_member members[] = {
    {"id", "userId"},
    {"email_verified", "verifiedEmail"},
    {"phone_verified", "verifiedPhone"},
    {"attributes_json", "customAttributes"},
    {"User.created_at_us", "createdTime"},
    {"roles", "roleNames"},
    {"totp", "TOTP"},
    {"saml", "SAML"},
    {"oauth_json", "OAuth"},
    {"has_password", "password"},
    {"UserQuery.login_id", "loginId"},
    {"UserQuery.login_id", "identifier"},
    {"UserRequest.login_id", "loginId"},
    {"UserRequest.login_id", "identifier"},
    {"UserRequest.login_ids", "additionalLoginIds"},
    {"UserRequest.login_ids", "additionalIdentifiers"},
    {"UserRequest.name", "displayName"},
    {"UserRequest.name", "name"},
    {"UserRequest.phone", "phone"},
    {"UserRequest.phone", "phoneNumber"},
    {"Login.created_at_us", "loginTime"},
    {"ip_address", "ip"},
    {0},
};

const struct pbjson_style descope_style = {.members = members,
                                           .absent = PBJSON_EMPTY,
                                           .times = PBJSON_EPOCH_SEC,
                                           .camel_case = true,
                                           .nulls_ignored = true,
                                           .unknown_ignored = true};
