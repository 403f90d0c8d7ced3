/* Configuration: defaults, bounds, secrets from files, refusals, printing. */
#include "base/cfg.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cfg_item first[] = {
    {"DENIZEN_T_TEXT", CFG_TEXT, "abc", 0, 0, "A text with a | bar."},
    {"DENIZEN_T_INT", CFG_INT, "5", -10, 10, "A number."},
    {0},
};
static const struct cfg_item second[] = {
    {"DENIZEN_T_BOOL", CFG_BOOL, "false", 0, 0, "A switch."},
    {"DENIZEN_T_SECRET", CFG_SECRET, NULL, 0, 0, "A secret."},
    {"DENIZEN_T_OPTIONAL", CFG_SECRET, "", 0, 0, "Another."},
    {0},
};
static const struct cfg_item *const tables[] = {first, second, NULL};

static void refuse(const char *part)
{
	struct cfg *cfg = NULL;
	char error[CFG_ERROR_SIZE] = "";
	cr_assert_neq(cfg_load(tables, &cfg, error), ST_OK, "expected: %s", part);
	cr_assert_null(cfg);
	cr_assert_not_null(strstr(error, part), "%s", error);
}

static struct cfg *accept(void)
{
	struct cfg *cfg = NULL;
	char error[CFG_ERROR_SIZE] = "";
	cr_assert_eq(cfg_load(tables, &cfg, error), ST_OK, "%s", error);
	return cfg;
}

static void set(const char *name, const char *value)
{
	cr_assert_eq(value ? setenv(name, value, 1) : unsetenv(name), 0);
}

/* Other variables of the test run must not look like typing errors here. */
static void clean_environment(void)
{
	clearenv();
	set("DENIZEN_T_SECRET", "hush");
}

static void write_file(const char *path, const char *text, size_t len_bytes)
{
	FILE *file = fopen(path, "w");
	cr_assert_not_null(file);
	cr_assert_eq(fwrite(text, 1, len_bytes, file), len_bytes);
	fclose(file);
}

TestSuite(cfg, .init = clean_environment);

Test(cfg, defaults_and_values)
{
	struct cfg *cfg = accept();
	cr_assert_str_eq(cfg_text(cfg, "DENIZEN_T_TEXT"), "abc");
	cr_assert_eq(cfg_int(cfg, "DENIZEN_T_INT"), 5);
	cr_assert_not(cfg_bool(cfg, "DENIZEN_T_BOOL"));
	cr_assert_str_eq(cfg_text(cfg, "DENIZEN_T_SECRET"), "hush");
	cr_assert_str_eq(cfg_text(cfg, "DENIZEN_T_OPTIONAL"), "");
	cfg_free(&cfg);
	cr_assert_null(cfg);
	cfg_free(&cfg);
	set("DENIZEN_T_INT", "-10");
	set("DENIZEN_T_BOOL", "yes");
	set("DENIZEN_T_TEXT", "");
	set("OTHER", "ignored");
	cfg = accept();
	cr_assert_eq(cfg_int(cfg, "DENIZEN_T_INT"), -10);
	cr_assert(cfg_bool(cfg, "DENIZEN_T_BOOL"));
	cr_assert_str_eq(cfg_text(cfg, "DENIZEN_T_TEXT"), "abc");
	cfg_free(&cfg);
}

Test(cfg, refuses)
{
	static const char *const numbers[] = {"11", "-11", "5x", "x", " 5", "+5", "0x5", "5.0", "99999999999999999999",
	                                      "-"};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		set("DENIZEN_T_INT", numbers[i]);
		refuse("DENIZEN_T_INT must be a whole number from -10 to 10.");
	}
	set("DENIZEN_T_INT", NULL);
	set("DENIZEN_T_BOOL", "maybe");
	refuse("DENIZEN_T_BOOL");
	set("DENIZEN_T_BOOL", NULL);
	set("DENIZEN_T_TEXTT", "x");
	refuse("DENIZEN_T_TEXTT is not a setting");
	set("DENIZEN_T_TEXTT", NULL);
	set("DENIZEN_T_TEXT_FILE", "/dev/null");
	refuse("DENIZEN_T_TEXT_FILE is not a setting");
	set("DENIZEN_T_TEXT_FILE", NULL);
	set("DENIZEN_T_SECRET_FILE", "/dev/null");
	refuse("both set");
	set("DENIZEN_T_SECRET", NULL);
	refuse("is empty");
	set("DENIZEN_T_SECRET_FILE", "/nonexistent/secret");
	refuse("cannot read /nonexistent/secret");
	set("DENIZEN_T_SECRET_FILE", "/");
	refuse("cannot read");
	set("DENIZEN_T_SECRET_FILE", NULL);
	refuse("DENIZEN_T_SECRET must be set.");
}

Test(cfg, secrets_from_files)
{
	char path[] = "/tmp/test-cfg-XXXXXX";
	static char big[65537];
	close(mkstemp(path));
	set("DENIZEN_T_SECRET", NULL);
	set("DENIZEN_T_SECRET_FILE", path);
	static const char *const texts[][2] = {{"s3", "s3"}, {"s3\n", "s3"}, {"s3\r\n", "s3"}, {"s3\n\n", "s3\n"}};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		write_file(path, texts[i][0], strlen(texts[i][0]));
		struct cfg *cfg = accept();
		cr_assert_str_eq(cfg_text(cfg, "DENIZEN_T_SECRET"), texts[i][1]);
		cfg_free(&cfg);
	}
	write_file(path, "a\0b", 3);
	refuse("cannot read");
	memset(big, 'x', sizeof(big));
	write_file(path, big, sizeof(big));
	refuse("cannot read");
	write_file(path, big, sizeof(big) - 1);
	struct cfg *cfg = accept();
	cr_assert_eq(strlen(cfg_text(cfg, "DENIZEN_T_SECRET")), 65536);
	cfg_free(&cfg);
	unlink(path);
}

Test(cfg, prints_without_secrets)
{
	struct buf out = {0};
	set("DENIZEN_T_TEXT", "two\nlines");
	struct cfg *cfg = accept();
	cfg_print(cfg, &out);
	buf_add_char(&out, '\0');
	cr_assert_str_eq(out.data, "DENIZEN_T_TEXT=two?lines\nDENIZEN_T_INT=5\nDENIZEN_T_BOOL=false\n"
	                           "DENIZEN_T_SECRET=(set)\nDENIZEN_T_OPTIONAL=\n");
	cfg_free(&cfg);
	buf_reset(&out);
	cfg_print_reference(tables, &out);
	buf_add_char(&out, '\0');
	cr_assert_not_null(strstr(out.data, "| `DENIZEN_T_TEXT` | text | `abc` | A text with a \\| bar. |\n"), "%s",
	                   out.data);
	cr_assert_not_null(strstr(out.data, "| `DENIZEN_T_INT` | number -10 to 10 | `5` | A number. |\n"));
	cr_assert_not_null(strstr(out.data, "| `DENIZEN_T_SECRET` | secret (or `DENIZEN_T_SECRET_FILE`) | required |"));
	buf_free(&out);
}
