/* denizen-feed-example: a service that keeps a table of a project's users up to date and writes every event to a file.
 *
 * Each event becomes one JSON line in --state, flushed before it counts as applied, and then on standard output. */
#include "denizen_feed.h"
#include "journal.h"
#include "users.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct follower {
	struct journal journal;
	struct users *users;
};

/* For the signal handlers. */
static struct denizen_feed *running;

static void on_signal(int number)
{
	if (running)
		denizen_feed_stop(running);
}

/* ---- events as JSON ---- */

static void set_text(json_t *object, const char *name, const char *text)
{
	if (text)
		json_object_set_new(object, name, json_string(text));
}

static void set_number(json_t *object, const char *name, int64_t number)
{
	if (number)
		json_object_set_new(object, name, json_integer(number));
}

static json_t *changes_to_json(const struct denizen_feed_event *event)
{
	json_t *list = json_array();
	for (size_t i = 0; i < event->change_count; i++) {
		const struct denizen_feed_change *change = &event->changes[i];
		json_t *item = json_object();
		set_text(item, "field", change->field);
		if (change->before_json)
			json_object_set_new(item, "before", json_loads(change->before_json, JSON_DECODE_ANY, NULL));
		if (change->after_json)
			json_object_set_new(item, "after", json_loads(change->after_json, JSON_DECODE_ANY, NULL));
		json_array_append_new(list, item);
	}
	return list;
}

/* One line without newline, to be freed; NULL without memory. */
static char *event_to_line(const struct denizen_feed_event *event)
{
	json_t *object = json_object();
	json_object_set_new(object, "seq", json_integer(event->seq));
	set_text(object, "project_id", event->project_id);
	set_text(object, "type", event->type_name);
	set_text(object, "subject", event->subject);
	set_text(object, "user_id", event->user_id);
	set_text(object, "actor", event->actor);
	set_number(object, "at_us", event->at_us);
	set_number(object, "version", event->version);
	set_number(object, "epoch", event->epoch);
	set_text(object, "trace_id", event->trace_id);
	set_text(object, "reason", event->reason);
	if (event->change_count)
		json_object_set_new(object, "changes", changes_to_json(event));
	char *line = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return line;
}

/* A line of the journal back into the table of users. */
static bool apply_line(void *arg, const char *text, size_t len, int64_t *ret_seq)
{
	struct follower *follower = arg;
	json_t *object = json_loadb(text, len, 0, NULL);
	json_int_t seq = json_integer_value(json_object_get(object, "seq"));
	const char *type = json_string_value(json_object_get(object, "type"));
	bool good = seq > 0 && type;
	if (good) {
		users_apply(follower->users, type, json_string_value(json_object_get(object, "user_id")),
		            json_integer_value(json_object_get(object, "version")));
		*ret_seq = seq;
	}
	json_decref(object);
	return good;
}

/* ---- the feed's callbacks ---- */

static int load(void *arg, int64_t *ret_cursor)
{
	const struct follower *follower = arg;
	*ret_cursor = follower->journal.cursor;
	return 0;
}

static int apply(void *arg, const struct denizen_feed_event *events, size_t count, int64_t next)
{
	struct follower *follower = arg;
	char *lines = NULL;
	size_t len = 0;
	int result = -1;
	FILE *memory = open_memstream(&lines, &len);
	if (!memory)
		return -1;
	for (size_t i = 0; i < count; i++) {
		char *line = event_to_line(&events[i]);
		bool written = line && fputs(line, memory) >= 0 && fputc('\n', memory) == '\n';
		free(line);
		if (!written)
			goto out;
	}
	if (fflush(memory) != 0)
		goto out;
	if (journal_append(&follower->journal, lines, len, next) != 0) {
		fprintf(stderr, "cannot write the state file: %s\n", strerror(errno));
		goto out;
	}
	for (size_t i = 0; i < count; i++)
		users_apply(follower->users, events[i].type_name, events[i].user_id, events[i].version);
	fwrite(lines, 1, len, stdout);
	fflush(stdout);
	result = 0;
out:
	fclose(memory);
	free(lines);
	return result;
}

static void note(void *arg, const char *text)
{
	fprintf(stderr, "%s\n", text);
}

/* ---- the command line ---- */

struct arguments {
	struct denizen_feed_options feed;
	const char *secret_file, *state;
};

static int usage(void)
{
	fputs("denizen-feed-example --endpoint HOST:PORT[,HOST:PORT] --server-key Z85 --public-key Z85\n"
	      "                     --secret-key-file FILE --state FILE [--project prj_...] [--poll-ms N]\n"
	      "Follows a project's events: one JSON line each, in FILE and on standard output.\n",
	      stderr);
	return 2;
}

static bool read_arguments(int argc, char **argv, struct arguments *ret_arguments)
{
	static const struct option table[] = {
	    {"endpoint", required_argument, NULL, 'e'},   {"server-key", required_argument, NULL, 'k'},
	    {"public-key", required_argument, NULL, 'p'}, {"secret-key-file", required_argument, NULL, 's'},
	    {"project", required_argument, NULL, 'j'},    {"state", required_argument, NULL, 'f'},
	    {"poll-ms", required_argument, NULL, 'i'},    {NULL, 0, NULL, 0},
	};
	struct arguments arguments = {0};
	for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
		const char **place = option == 'e'   ? &arguments.feed.endpoints
		                     : option == 'k' ? &arguments.feed.server_public_key
		                     : option == 'p' ? &arguments.feed.public_key
		                     : option == 's' ? &arguments.secret_file
		                     : option == 'j' ? &arguments.feed.project_id
		                     : option == 'f' ? &arguments.state
		                                     : NULL;
		if (option == 'i')
			arguments.feed.poll_ms = (unsigned)strtoul(optarg, NULL, 10);
		else if (!place)
			return false;
		else
			*place = optarg;
	}
	*ret_arguments = arguments;
	return optind == argc && arguments.feed.endpoints && arguments.feed.server_public_key &&
	       arguments.feed.public_key && arguments.secret_file && arguments.state;
}

static bool read_secret(const char *path, char ret_key[41])
{
	FILE *file = fopen(path, "r");
	bool good = file && fread(ret_key, 1, 40, file) == 40;
	if (!good)
		fprintf(stderr, "cannot read a key of 40 characters from %s\n", path);
	ret_key[40] = '\0';
	if (file)
		fclose(file);
	return good;
}

static int follow(struct arguments *arguments, struct follower *follower)
{
	static const char *const results[] = {
	    [DENIZEN_FEED_STOPPED] = "stopped",
	    [DENIZEN_FEED_LOAD] = "the cursor could not be loaded",
	    [DENIZEN_FEED_REFUSED] = "refused by the server",
	    [DENIZEN_FEED_AHEAD] = "the state file is ahead of the ledger, which was restored: start with a new one",
	    [DENIZEN_FEED_MEMORY] = "out of memory",
	};
	const char *error = "";
	running = denizen_feed_new(&arguments->feed, &error);
	if (!running) {
		fprintf(stderr, "%s\n", error);
		return 2;
	}
	const struct sigaction action = {.sa_handler = on_signal};
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	enum denizen_feed_result result = denizen_feed_run(running);
	fprintf(stderr, "%s at event %lld; %zu users, %zu of them disabled\n", results[result],
	        (long long)follower->journal.cursor, users_count(follower->users),
	        users_count_disabled(follower->users));
	denizen_feed_free(&running);
	return result == DENIZEN_FEED_STOPPED ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct arguments arguments;
	struct follower follower = {.users = users_new()};
	char secret[41];
	if (!read_arguments(argc, argv, &arguments))
		return usage();
	if (!read_secret(arguments.secret_file, secret))
		return 2;
	if (journal_open(&follower.journal, arguments.state, apply_line, &follower) != 0) {
		fprintf(stderr, "cannot use the state file %s: %s\n", arguments.state, strerror(errno));
		return 2;
	}
	arguments.feed.secret_key = secret;
	arguments.feed.load = load;
	arguments.feed.apply = apply;
	arguments.feed.log = note;
	arguments.feed.arg = &follower;
	int exit_status = follow(&arguments, &follower);
	journal_close(&follower.journal);
	users_free(&follower.users);
	return exit_status;
}
