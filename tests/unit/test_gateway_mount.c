/* Mounts: who answers at a host and under a path, what collides, pages of other origins, slashes. */
#include "front/gateway.h"
#include "http/problem.h"

#include <criterion/criterion.h>
#include <string.h>

static void answer_name(struct exchange *exchange)
{
	exchange->response.status = 200;
	exchange->response.content_type = "text/plain";
	buf_add_str(&exchange->response.body, exchange->route->dialect->name);
}

static void print_teapot(struct exchange *exchange)
{
	exchange->response.status = 418;
	if (exchange->failure.allow)
		http_header_add(exchange, "Allow", exchange->failure.allow);
}

#define ROW(verb_, path_)                                                                                              \
	{                                                                                                              \
		.verb = (verb_), .path = (path_), .permission = "none", .answer = answer_name                          \
	}

static const char *const native_roots[] = {"", NULL};
static const char *const tea_roots[] = {"/v1/tea", NULL};
static const char *const pot_roots[] = {"/v1/tea/pots", NULL};
static const struct dialect_route plain_rows[] = {
    ROW("GET", "/v1/users"), ROW("PUT", "/v1/users"), ROW("GET", "/v1/{any}"), {0}};
static const struct dialect_route tea_rows[] = {ROW("GET", "/v1/tea/cups"), ROW("POST", "/v1/tea/{cup}"), {0}};
static const struct dialect_route hidden_rows[] = {ROW("GET", "/v1/tea/pots/big"), {0}};
static const struct dialect_route stray_rows[] = {ROW("GET", "/v2/tea"), {0}};
static const struct dialect plain = {
    .name = "plain", .roots = native_roots, .routes = plain_rows, .print_failure = problem_print};
static const struct dialect tea = {
    .name = "tea",
    .roots = tea_roots,
    .routes = tea_rows,
    .lenient_slashes = true,
    .cors = {.headers = "Authorization", .exposed = "X-Tea", .credentials = true, .max_age_sec = 60},
    .print_failure = print_teapot};
static const struct dialect brew = {
    .name = "brew", .roots = tea_roots, .routes = tea_rows, .print_failure = print_teapot};
static const struct dialect pot = {
    .name = "pot", .roots = pot_roots, .routes = hidden_rows, .print_failure = print_teapot};
static const struct dialect hidden = {
    .name = "hidden", .roots = tea_roots, .routes = hidden_rows, .print_failure = print_teapot};
static const struct dialect stray = {
    .name = "stray", .roots = tea_roots, .routes = stray_rows, .print_failure = print_teapot};

static const struct local_method no_methods[] = {{0, NULL}};
static const struct dialect_route *const no_tables[] = {NULL};
static struct gateway gateway;
static struct exchange exchange;

static void stop(void)
{
	pipeline_end(&gateway);
	limits_free(&gateway.limits);
	authn_free(&gateway.authn);
}

/* Starts with these settings; "" or the sentence of the refusal. */
static const char *start(const struct dialect *const *dialects, struct mount_settings settings)
{
	static char error[ROUTE_ERROR_SIZE];
	const struct pipeline_options options = {
	    .methods = no_methods, .tables = no_tables, .dialects = dialects, .mounts = settings};
	memset(&gateway, 0, sizeof(gateway));
	gateway.authn = authn_new(NULL);
	gateway.limits = limits_new(&(struct limits_options){0});
	if (pipeline_init(&gateway, &options, error) == ST_OK)
		error[0] = '\0';
	return error;
}

/* One request; the status of its answer. Further headers as name, value ... NULL. */
static int ask(const char *verb, const char *path, const char *host, const char *origin)
{
	struct arena *arena = exchange.arena ? exchange.arena : arena_new(1 << 20);
	buf_free(&exchange.response.body);
	arena_reset(arena);
	memset(&exchange, 0, sizeof(exchange));
	exchange.arena = arena;
	exchange.gateway = &gateway;
	exchange.request = (struct http_request){.verb = verb, .path = path, .peer = "127.0.0.1"};
	exchange.request.headers[exchange.request.header_count++] = (struct http_header){"Host", host};
	exchange.request.empty_segment = strstr(path, "//") || (path[1] && path[strlen(path) - 1] == '/');
	if (origin) {
		exchange.request.headers[exchange.request.header_count++] = (struct http_header){"Origin", origin};
		exchange.request.headers[exchange.request.header_count++] =
		    (struct http_header){"Access-Control-Request-Method", "POST"};
	}
	exchange.response.close = strcmp(verb, "OPTIONS") == 0;
	if (exchange.response.close)
		pipeline_refuse(&exchange, ST_METHOD_NOT_ALLOWED, NULL);
	else
		pipeline_serve(&exchange);
	return exchange.response.status;
}

static const char *answered(void)
{
	return exchange.response.status == 200 ? exchange.route->dialect->name : exchange.mount->dialect->name;
}

static const char *header(const char *name)
{
	for (const struct http_field *field = exchange.response.fields; field; field = field->next) {
		if (strcmp(field->name, name) == 0)
			return field->value;
	}
	return NULL;
}

static const struct dialect *const two[] = {&plain, &tea, NULL};
static const struct mount_settings both = {.dialects = "tea", .hosts = "Tea.example.com=tea", .origins = ""};

Test(gateway_mount, chooses_by_host_and_prefix)
{
	static const struct {
		const char *verb, *host, *path;
		int status;
		const char *dialect;
	} rows[] = {
	    {"GET", "x", "/v1/users", 200, "plain"},
	    {"GET", "x", "/v1/tea/cups", 200, "tea"},
	    {"POST", "x", "/v1/tea/green", 200, "tea"},
	    {"GET", "x", "/tea/v1/tea/cups", 200, "tea"},
	    {"GET", "x", "/v1/teas", 200, "plain"},
	    {"GET", "tea.EXAMPLE.com", "/v1/tea/cups", 200, "tea"},
	    {"GET", "tea.example.com:8443", "/v1/tea/cups", 200, "tea"},
	    /* unknown paths and wrong verbs are the mount's too */
	    {"GET", "x", "/v1/tea/none/at/all", 418, "tea"},
	    {"PUT", "x", "/v1/tea/cups", 418, "tea"},
	    {"GET", "x", "/v1/tea", 418, "tea"},
	    {"GET", "x", "/tea", 418, "tea"},
	    {"GET", "x", "/tea/v1/users", 418, "tea"},
	    {"GET", "tea.example.com", "/v1/users", 418, "tea"},
	    {"GET", "x", "/nothing", 404, "plain"},
	    {"POST", "x", "/v1/users", 405, "plain"},
	    {"OPTIONS", "x", "/v1/users", 405, "plain"},
	    {"OPTIONS", "x", "/v1/tea/cups", 418, "tea"},
	    /* slashes */
	    {"GET", "x", "//v1//tea/cups/", 200, "tea"},
	    {"GET", "x", "/tea//v1/tea/cups", 200, "tea"},
	    {"GET", "x", "//v1/users", 400, "plain"},
	    {"GET", "x", "/v1/users/", 400, "plain"},
	};
	cr_assert_str_eq(start(two, both), "");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_expect_eq(ask(rows[i].verb, rows[i].path, rows[i].host, NULL), rows[i].status, "%s: %d",
		             rows[i].path, exchange.response.status);
		cr_expect_str_eq(answered(), rows[i].dialect, "%s", rows[i].path);
	}
	ask("PUT", "/tea/v1/tea/cups", "x", NULL);
	cr_assert_str_eq(header("Allow"), "GET, HEAD, POST");
	stop();
}

Test(gateway_mount, a_dialect_that_is_not_named_is_off)
{
	cr_assert_str_eq(start(two, (struct mount_settings){.dialects = "", .hosts = "", .origins = ""}), "");
	cr_assert_eq(ask("GET", "/v1/tea/cups", "x", NULL), 404);
	cr_assert_eq(ask("GET", "/tea/v1/tea/cups", "x", NULL), 404);
	cr_assert_str_eq(answered(), "plain");
	stop();
}

Test(gateway_mount, refuses_to_start)
{
	static const struct dialect *const same[] = {&plain, &tea, &brew, NULL};
	static const struct dialect *const covered[] = {&plain, &hidden, &pot, NULL};
	static const struct dialect *const lost[] = {&plain, &stray, NULL};
	static const struct {
		const struct dialect *const *dialects;
		const char *names, *hosts, *origins, *sentence;
	} rows[] = {
	    {same, "tea, brew", "", "", "The dialects tea and brew are both mounted at /v1/tea/."},
	    {two, "tea", "a.example=tea,a.example=plain", "",
	     "The dialects tea and plain are both mounted at a.example/."},
	    {covered, "hidden,pot", "", "",
	     "The route GET /v1/tea/pots/big of the dialect hidden is hidden by the mount /v1/tea/pots of the dialect "
	     "pot."},
	    {lost, "stray", "", "", "The route GET /v2/tea lies under no root of the dialect stray."},
	    {two, "coffee", "", "", "DENIZEN_DIALECTS names coffee, which is no dialect that is served."},
	    {two, "", "a.example=tea", "", "DENIZEN_DIALECT_HOSTS names tea, which is no dialect that is served."},
	    {two, "tea", "a.example:80=tea", "",
	     "DENIZEN_DIALECT_HOSTS must be host=dialect with commas, without ports."},
	    {two, "tea", "tea", "", "DENIZEN_DIALECT_HOSTS must be host=dialect with commas, without ports."},
	    {two, "tea", "", "milk=https://a.example",
	     "DENIZEN_CORS_ORIGINS names milk, which is no dialect that is served."},
	    {two, "tea", "", "a.example",
	     "DENIZEN_CORS_ORIGINS must be origins such as https://app.example.com, or *, with commas."},
	    {two, "tea", "", "https://a.example/",
	     "DENIZEN_CORS_ORIGINS must be origins such as https://app.example.com, or *, with commas."},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct mount_settings settings = {rows[i].names, rows[i].hosts, rows[i].origins};
		cr_expect_str_eq(start(rows[i].dialects, settings), rows[i].sentence);
		stop();
	}
}

Test(gateway_mount, pages_of_allowed_origins)
{
	const struct mount_settings settings = {
	    .dialects = "tea", .hosts = "", .origins = "tea=https://app.example, https://both.example"};
	cr_assert_str_eq(start(two, settings), "");
	cr_assert_eq(ask("GET", "/v1/tea/cups", "x", "https://app.example"), 200);
	cr_assert_str_eq(header("Access-Control-Allow-Origin"), "https://app.example");
	cr_assert_str_eq(header("Access-Control-Allow-Credentials"), "true");
	cr_assert_str_eq(header("Access-Control-Expose-Headers"), "X-Tea");
	cr_assert_str_eq(header("Vary"), "Origin");
	cr_assert_eq(ask("GET", "/v1/tea/none/at/all", "x", "https://app.example"), 418);
	cr_assert_str_eq(header("Access-Control-Allow-Origin"), "https://app.example", "pages can read refusals");
	cr_assert_eq(ask("GET", "/v1/tea/cups", "x", "https://evil.example"), 200);
	cr_assert_null(header("Access-Control-Allow-Origin"));
	cr_assert_str_eq(header("Vary"), "Origin");
	cr_assert_eq(ask("GET", "/v1/users", "x", "https://app.example"), 200);
	cr_assert_null(header("Access-Control-Allow-Origin"), "an origin of one dialect is none of another");
	cr_assert_eq(ask("GET", "/v1/users", "x", "https://both.example"), 200);
	cr_assert_str_eq(header("Access-Control-Allow-Origin"), "https://both.example");
	cr_assert_null(header("Access-Control-Allow-Credentials"));
	cr_assert_eq(ask("OPTIONS", "/v1/tea/cups", "x", "https://app.example"), 204);
	cr_assert_str_eq(header("Access-Control-Allow-Methods"), "GET, HEAD, POST");
	cr_assert_str_eq(header("Access-Control-Allow-Headers"), "Authorization");
	cr_assert_str_eq(header("Access-Control-Max-Age"), "60");
	cr_assert_not(exchange.response.close);
	cr_assert_eq(ask("OPTIONS", "/v1/tea/none/at/all", "x", "https://app.example"), 418);
	cr_assert_eq(ask("OPTIONS", "/v1/tea/cups", "x", "https://evil.example"), 418);
	cr_assert_null(header("Access-Control-Allow-Methods"));
	stop();
	cr_assert_str_eq(start(two, (struct mount_settings){.dialects = "tea", .hosts = "", .origins = "*"}), "");
	cr_assert_eq(ask("GET", "/v1/tea/cups", "x", "https://any.example"), 200);
	cr_assert_str_eq(header("Access-Control-Allow-Origin"), "*");
	cr_assert_null(header("Access-Control-Allow-Credentials"), "not for everybody");
	stop();
}
