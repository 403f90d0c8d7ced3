/* Mounts: a short list, those of a host first, longer prefixes before shorter ones. */
#include "front/mount.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A dialect that is served. */
struct mount_face {
	struct mount_face *next;
	const struct dialect *dialect;
	struct route_table *routes;
	struct mount_origins origins;
	char *prefix; /* "/descope" */
};

struct mounts {
	struct mount_settings settings;
	struct mount_face *faces;
	struct mount *list;
	size_t count;
	size_t host_count; /* the first so many have a host */
};

static bool mount_fail(char ret_error[MOUNT_ERROR_SIZE], const char *sentence)
{
	snprintf(ret_error, MOUNT_ERROR_SIZE, "%s", sentence);
	return false;
}

static bool mount_fail_memory(char ret_error[MOUNT_ERROR_SIZE])
{
	return mount_fail(ret_error, "There is not enough memory for the mounts.");
}

struct mounts *mounts_new(const struct mount_settings *settings)
{
	struct mounts *mounts = calloc(1, sizeof(*mounts));
	if (mounts)
		mounts->settings = *settings;
	return mounts;
}

void mounts_free(struct mounts **mounts)
{
	if (!*mounts)
		return;
	for (size_t i = 0; i < (*mounts)->count; i++)
		free((char *)(*mounts)->list[i].host);
	for (struct mount_face *face = (*mounts)->faces; face;) {
		struct mount_face *next = face->next;
		for (size_t i = 0; i < face->origins.count; i++)
			free((char *)face->origins.list[i]);
		free(face->origins.list);
		route_table_free(&face->routes);
		free(face->prefix);
		free(face);
		face = next;
	}
	free((*mounts)->list);
	free(*mounts);
	*mounts = NULL;
}

/* The next word of a list with commas and blanks; NULL at its end. */
static const char *mount_word(const char **list, size_t *ret_len)
{
	const char *word = *list + strspn(*list, ", \t");
	*ret_len = strcspn(word, ", \t");
	*list = word + *ret_len;
	return *ret_len ? word : NULL;
}

static bool mount_named(const char *name, const char *text, size_t len)
{
	return strlen(name) == len && memcmp(name, text, len) == 0;
}

/* The native API: what no other mount takes. */
static bool mount_has_every_path(const struct dialect *dialect)
{
	return dialect->roots && dialect->roots[0][0] == '\0';
}

bool mounts_wanted(const struct mounts *mounts, const struct dialect *dialect)
{
	const char *list = mounts->settings.dialects, *word;
	size_t len;
	if (mount_has_every_path(dialect))
		return true;
	while ((word = mount_word(&list, &len))) {
		if (mount_named(dialect->name, word, len))
			return true;
	}
	return false;
}

static bool mount_same_host(const char *host, const char *other)
{
	return host && other ? strcmp(host, other) == 0 : host == other;
}

/* Puts a mount in its place in the list. Takes mount->host. */
static bool mounts_insert(struct mounts *mounts, const struct mount *mount, char ret_error[MOUNT_ERROR_SIZE])
{
	size_t at = 0;
	struct mount *list = realloc(mounts->list, (mounts->count + 1) * sizeof(*list));
	if (list)
		mounts->list = list;
	for (size_t i = 0; i < mounts->count; i++) {
		const struct mount *other = &mounts->list[i];
		if (!mount_same_host(other->host, mount->host) || strcmp(other->prefix, mount->prefix) != 0)
			continue;
		snprintf(ret_error, MOUNT_ERROR_SIZE, "The dialects %s and %s are both mounted at %s%s/.",
		         other->dialect->name, mount->dialect->name, mount->host ? mount->host : "", mount->prefix);
		list = NULL;
	}
	if (!list) {
		free((char *)mount->host);
		return false;
	}
	while (at < mounts->count && ((list[at].host && !mount->host) ||
	                              (!list[at].host == !mount->host && list[at].prefix_len >= mount->prefix_len)))
		at++;
	memmove(list + at + 1, list + at, (mounts->count - at) * sizeof(*list));
	list[at] = *mount;
	mounts->count++;
	mounts->host_count += !!mount->host;
	return true;
}

static struct mount mount_of(const struct mount_face *face, const char *prefix)
{
	return (struct mount){.prefix = prefix,
	                      .prefix_len = strlen(prefix),
	                      .dialect = face->dialect,
	                      .routes = face->routes,
	                      .origins = &face->origins};
}

struct route_table *mounts_serve(struct mounts *mounts, const struct dialect *dialect, char ret_error[MOUNT_ERROR_SIZE])
{
	struct mount_face *face = calloc(1, sizeof(*face));
	mount_fail_memory(ret_error);
	if (!face)
		return NULL;
	face->next = mounts->faces;
	mounts->faces = face;
	face->dialect = dialect;
	face->routes = route_table_new(dialect);
	if (!face->routes || asprintf(&face->prefix, "/%s", dialect->name) < 0)
		return NULL;
	for (const char *const *root = dialect->roots; root && *root; root++) {
		struct mount mount = mount_of(face, *root);
		if (!mounts_insert(mounts, &mount, ret_error))
			return NULL;
	}
	if (mount_has_every_path(dialect))
		return face->routes;
	struct mount mount = mount_of(face, face->prefix);
	mount.skip = mount.prefix_len;
	return mounts_insert(mounts, &mount, ret_error) ? face->routes : NULL;
}

static struct mount_face *mounts_face(const struct mounts *mounts, const char *name, size_t len)
{
	struct mount_face *face = mounts->faces;
	while (face && !mount_named(face->dialect->name, name, len))
		face = face->next;
	return face;
}

static bool mounts_unknown(const char *setting, const char *word, size_t len, char ret_error[MOUNT_ERROR_SIZE])
{
	snprintf(ret_error, MOUNT_ERROR_SIZE, "%s names %.*s, which is no dialect that is served.", setting, (int)len,
	         word);
	return false;
}

static bool mounts_check_dialects(const struct mounts *mounts, char ret_error[MOUNT_ERROR_SIZE])
{
	const char *list = mounts->settings.dialects, *word;
	size_t len;
	while ((word = mount_word(&list, &len))) {
		if (!mounts_face(mounts, word, len))
			return mounts_unknown("DENIZEN_DIALECTS", word, len, ret_error);
	}
	return true;
}

/* "login.example.com=descope" */
static bool mounts_add_host(struct mounts *mounts, const char *word, size_t len, char ret_error[MOUNT_ERROR_SIZE])
{
	const char *equals = memchr(word, '=', len);
	size_t host_len = equals ? (size_t)(equals - word) : 0;
	if (host_len == 0 || strcspn(word, "/:@?#") < host_len)
		return mount_fail(ret_error, "DENIZEN_DIALECT_HOSTS must be host=dialect with commas, without ports.");
	const char *name = equals + 1;
	const struct mount_face *face = mounts_face(mounts, name, len - host_len - 1);
	if (!face)
		return mounts_unknown("DENIZEN_DIALECT_HOSTS", name, len - host_len - 1, ret_error);
	struct mount mount = mount_of(face, "");
	char *host = strndup(word, host_len);
	if (!host)
		return mount_fail_memory(ret_error);
	for (char *at = host; *at; at++) {
		if (*at >= 'A' && *at <= 'Z')
			*at |= 0x20;
	}
	mount.host = host;
	return mounts_insert(mounts, &mount, ret_error);
}

static bool mounts_add_hosts(struct mounts *mounts, char ret_error[MOUNT_ERROR_SIZE])
{
	const char *list = mounts->settings.hosts, *word;
	size_t len;
	while ((word = mount_word(&list, &len))) {
		if (!mounts_add_host(mounts, word, len, ret_error))
			return false;
	}
	return true;
}

/* scheme://host[:port], or "*". */
static bool mount_is_origin(const char *text, size_t len)
{
	const char *host = memmem(text, len, "://", 3);
	if (len == 1 && text[0] == '*')
		return true;
	return host && host > text && host + 3 < text + len && !memchr(host + 3, '/', (size_t)(text + len - host - 3));
}

static bool mount_add_origin(struct mount_face *face, const char *text, size_t len)
{
	struct mount_origins *origins = &face->origins;
	const char **grown = realloc(origins->list, (origins->count + 1) * sizeof(*grown));
	if (!grown)
		return false;
	origins->list = grown;
	grown[origins->count] = strndup(text, len);
	return grown[origins->count] && ++origins->count;
}

/* "https://app.example.com" or "descope=https://app.example.com" */
static bool mounts_add_origins(struct mounts *mounts, char ret_error[MOUNT_ERROR_SIZE])
{
	const char *list = mounts->settings.origins, *word;
	size_t len;
	while ((word = mount_word(&list, &len))) {
		const char *equals = memchr(word, '=', len);
		const char *origin = equals ? equals + 1 : word;
		size_t origin_len = (size_t)(word + len - origin);
		size_t name_len = equals ? (size_t)(equals - word) : 0;
		if (equals && !mounts_face(mounts, word, name_len))
			return mounts_unknown("DENIZEN_CORS_ORIGINS", word, name_len, ret_error);
		if (!mount_is_origin(origin, origin_len))
			return mount_fail(ret_error, "DENIZEN_CORS_ORIGINS must be origins such as "
			                             "https://app.example.com, or *, with commas.");
		for (struct mount_face *face = mounts->faces; face; face = face->next) {
			if (equals && !mount_named(face->dialect->name, word, name_len))
				continue;
			if (!mount_add_origin(face, origin, origin_len))
				return mount_fail_memory(ret_error);
		}
	}
	return true;
}

/* Whether the path is the prefix or lies under it. */
static bool mount_covers(const struct mount *mount, const char *path)
{
	if (strncmp(path, mount->prefix, mount->prefix_len) != 0)
		return false;
	return mount->prefix_len == 0 || path[mount->prefix_len] == '/' || path[mount->prefix_len] == '\0';
}

/* The mount of a path at a host, which is compared as text. */
static const struct mount *mounts_of(const struct mounts *mounts, const char *host, const char *path)
{
	for (size_t i = 0; i < mounts->count; i++) {
		const struct mount *mount = &mounts->list[i];
		if ((!mount->host || (host && strcmp(mount->host, host) == 0)) && mount_covers(mount, path))
			return mount;
	}
	return NULL;
}

struct mount_check {
	const struct mounts *mounts;
	const struct mount *mount;
	char *error;
	bool ok;
};

/* A route that its mount should answer, but another takes its path. */
static void mount_check_route(void *arg, const struct route *route)
{
	struct mount_check *check = arg;
	const struct mount *mount = check->mount;
	char path[128];
	snprintf(path, sizeof(path), "%s%s", mount->skip ? mount->prefix : "", route->row.path);
	if (!check->ok || !mount_covers(mount, path))
		return;
	const struct mount *other = mounts_of(check->mounts, mount->host, path);
	if (other->dialect == mount->dialect)
		return;
	snprintf(check->error, MOUNT_ERROR_SIZE,
	         "The route %s %.100s of the dialect %s is hidden by the mount %s of the dialect %s.", route->row.verb,
	         path, mount->dialect->name, other->prefix, other->dialect->name);
	check->ok = false;
}

/* A route of a dialect that none of its roots leads to. */
static void mount_check_roots(void *arg, const struct route *route)
{
	struct mount_check *check = arg;
	const struct dialect *dialect = check->mount->dialect;
	for (const char *const *root = dialect->roots; root && *root; root++) {
		struct mount mount = {.prefix = *root, .prefix_len = strlen(*root)};
		if (mount_covers(&mount, route->row.path))
			return;
	}
	snprintf(check->error, MOUNT_ERROR_SIZE, "The route %s %s lies under no root of the dialect %s.",
	         route->row.verb, route->row.path, dialect->name);
	check->ok = false;
}

bool mounts_finish(struct mounts *mounts, char ret_error[MOUNT_ERROR_SIZE])
{
	if (!mounts_check_dialects(mounts, ret_error) || !mounts_add_hosts(mounts, ret_error) ||
	    !mounts_add_origins(mounts, ret_error))
		return false;
	for (size_t i = 0; i < mounts->count; i++) {
		struct mount_check check = {mounts, &mounts->list[i], ret_error, true};
		route_table_each(mounts->list[i].routes, mount_check_roots, &check);
		route_table_each(mounts->list[i].routes, mount_check_route, &check);
		if (!check.ok)
			return false;
	}
	return true;
}

/* Whether a Host header field names the host: in any case, with any port. */
static bool mount_host_is(const char *header, const char *host)
{
	size_t len = strlen(host);
	return strncasecmp(header, host, len) == 0 && (header[len] == '\0' || header[len] == ':');
}

void mounts_choose(const struct mounts *mounts, struct exchange *exchange)
{
	const char *host = mounts->host_count > 0 ? http_header_find(&exchange->request, "Host") : NULL;
	size_t i = host ? 0 : mounts->host_count;
	while (i < mounts->count - 1) {
		const struct mount *mount = &mounts->list[i];
		if ((i >= mounts->host_count || mount_host_is(host, mount->host)) &&
		    mount_covers(mount, exchange->path))
			break;
		i++;
	}
	exchange->mount = &mounts->list[i]; /* the last has every path of every host */
	exchange->path += exchange->mount->skip;
}
