/* The example's journal at every crash point, and its table of users. */
#include "../../sdk/c/example/journal.c"
#include "../../sdk/c/example/users.c"

#include <criterion/criterion.h>

struct seen {
	int64_t first, last;
	size_t count;
};

static bool take_line(void *arg, const char *text, size_t len, int64_t *ret_seq)
{
	struct seen *seen = arg;
	long long seq;
	if (sscanf(text, "{\"seq\":%lld,", &seq) != 1 || text[len - 1] != '}')
		return false;
	if (seen->count++ == 0)
		seen->first = seq;
	seen->last = seq;
	*ret_seq = seq;
	return true;
}

static size_t make_lines(char *text, size_t size, int64_t first, int64_t last)
{
	size_t len = 0;
	for (int64_t seq = first; seq <= last; seq++)
		len += (size_t)snprintf(text + len, size - len, "{\"seq\":%lld,\"type\":\"USER_CREATED\"}\n",
		                        (long long)seq);
	return len;
}

static void make_path(char path[64])
{
	snprintf(path, 64, "/tmp/test-feed-journal-XXXXXX");
	int fd = mkstemp(path);
	cr_assert(fd >= 0);
	close(fd);
}

Test(feed_journal, keeps_events_and_cursor)
{
	char path[64], lines[4096];
	struct journal journal;
	struct seen seen = {0};
	make_path(path);
	cr_assert(journal_open(&journal, path, take_line, &seen) == 0);
	cr_assert(journal.cursor == 0 && seen.count == 0);
	cr_assert(journal_append(&journal, lines, make_lines(lines, sizeof(lines), 1, 3), 3) == 0);
	cr_assert(journal_append(&journal, lines, make_lines(lines, sizeof(lines), 4, 4), 4) == 0);
	struct journal second;
	cr_assert(journal_open(&second, path, take_line, &seen) == -1 && errno == EWOULDBLOCK, "one process at a time");
	journal_close(&journal);
	cr_assert(journal_open(&journal, path, take_line, &seen) == 0);
	cr_assert(journal.cursor == 4 && seen.count == 4 && seen.first == 1);
	journal_close(&journal);
	unlink(path);
}

Test(feed_journal, crash_at_every_byte)
{
	char path[64], lines[4096];
	make_path(path);
	size_t kept = make_lines(lines, sizeof(lines), 1, 2);
	size_t len = make_lines(lines, sizeof(lines), 1, 6);
	size_t line = (len - kept) / 4;
	for (size_t cut = kept; cut <= len; cut++) {
		struct journal journal;
		struct seen seen = {0};
		FILE *file = fopen(path, "w");
		fwrite(lines, 1, cut, file);
		fclose(file);
		cr_assert(journal_open(&journal, path, take_line, &seen) == 0, "cut at %zu", cut);
		int64_t cursor = 2 + (int64_t)((cut - kept) / line);
		cr_assert(journal.cursor == cursor && (int64_t)seen.count == cursor, "cut at %zu", cut);
		/* the rest comes again from the ledger, and the file is whole */
		char rest[4096];
		cr_assert(journal_append(&journal, rest, make_lines(rest, sizeof(rest), cursor + 1, 6), 6) == 0);
		journal_close(&journal);
		seen = (struct seen){0};
		cr_assert(journal_open(&journal, path, take_line, &seen) == 0);
		cr_assert(journal.cursor == 6 && seen.count == 6);
		journal_close(&journal);
	}
	unlink(path);
}

Test(feed_journal, refuses_a_file_that_is_not_its_own)
{
	static const char *const bad[] = {
	    "hello\nworld\n",
	    "{\"seq\":1,}\n{\"seq\":3,}\n{\"seq\":4,}\n",
	    "{\"seq\":1,}\ntorn in the middle\n{\"seq\":2,}\n",
	};
	char path[64], text[256];
	make_path(path);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct journal journal;
		struct seen seen = {0};
		FILE *file = fopen(path, "w");
		fputs(bad[i], file);
		fclose(file);
		cr_assert(journal_open(&journal, path, take_line, &seen) == -1 && errno == EBADMSG, "case %zu", i);
		file = fopen(path, "r");
		size_t len = fread(text, 1, sizeof(text), file);
		fclose(file);
		cr_assert(len == strlen(bad[i]), "nothing of it was cut");
	}
	unlink(path);
}

Test(feed_users, follows_events)
{
	struct users *users = users_new();
	char id[32];
	for (int i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "usr_%d", i);
		users_apply(users, "USER_CREATED", id, 1);
	}
	users_apply(users, "USER_DISABLED", "usr_1", 2);
	users_apply(users, "USER_DISABLED", "usr_1", 3);
	users_apply(users, "USER_DISABLED", "usr_2", 2);
	users_apply(users, "USER_ENABLED", "usr_2", 3);
	users_apply(users, "USER_DELETED", "usr_1", 4);
	users_apply(users, "USER_DELETED", "usr_3", 2);
	users_apply(users, "USER_DISABLED", "usr_4", 2);
	users_apply(users, "SESSION_ENDED", "usr_5", 2);
	users_apply(users, "PROJECT_CREATED", NULL, 0);
	cr_assert(users_count(users) == 998 && users_count_disabled(users) == 1);
	users_free(&users);
	cr_assert_null(users);
}
