/* The reader and the walks over tables, with a table of the test's own: what an option of the configuration may become.
 */
#include "base/limits.h"
#include "config/config.h"
#include "config/reader.h"

#include "suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>

struct room {
    char *name;
    unsigned beds;
    char *colour;
};

struct house {
    char *name;
    struct room *rooms;
    size_t room_count;
    uint64_t size;
};

enum season { SPRING, SUMMER };

struct town {
    bool open;
    unsigned people;
    int64_t age;
    uint64_t area;
    enum season season;
    char *mayor;
    struct config_list gates;
    struct {
        unsigned depth;
    } well;
    struct house *houses;
    size_t house_count;
    struct room *cells;
    size_t cell_count;
};

static const char *check_lower(const char *text)
{
    return strpbrk(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") ? "must be lower case" : NULL;
}

static int derive_colour(const struct schema_place *place, struct buf *text)
{
    const struct room *room = place->object;
    return buf_addf(text, "%s-of-%s", room->name ? room->name : "none", ((const struct town *)place->root)->mayor);
}

static const char *builtin_house(size_t index)
{
    static const char *const names[] = {"hall", "mill", NULL};
    return names[index];
}

static const struct schema_item room_items[] = {
    {"beds", SCHEMA_COUNT, offsetof(struct room, beds), .max = 9, .fallback = "1"},
    {"colour", SCHEMA_TEXT, offsetof(struct room, colour), .derive = derive_colour},
    {NULL}};
static const struct schema_item cell_items[] = {
    {"beds", SCHEMA_COUNT, offsetof(struct room, beds), .max = 9, .required = true}, {NULL}};
static const struct schema_item house_items[] = {
    {"rooms", SCHEMA_MAP, offsetof(struct house, rooms), offsetof(struct house, room_count), sizeof(struct room),
     room_items, .max = 2},
    {"size", SCHEMA_SIZE, offsetof(struct house, size), .min = 1024, .max = 1 << 20, .fallback = "2KiB"},
    {NULL}};
static const struct schema_item well_items[] = {
    {"depth", SCHEMA_COUNT, offsetof(struct town, well.depth), .max = 100, .fallback = "10", .restart = true}, {NULL}};
static const char *const seasons[] = {"spring", "summer", NULL};
static const struct schema_item town_items[] = {
    {"open", SCHEMA_BOOL, offsetof(struct town, open), .fallback = "true", .restart = true},
    {"people", SCHEMA_COUNT, offsetof(struct town, people), .max = 1000, .fallback = "7", .restart = true},
    {"age", SCHEMA_DURATION, offsetof(struct town, age), .max = 3600000, .fallback = "1m", .restart = true},
    {"area", SCHEMA_SIZE, offsetof(struct town, area), .max = INT64_MAX, .fallback = "1GiB"},
    {"season", SCHEMA_CHOICE, offsetof(struct town, season), .choices = seasons, .fallback = "spring"},
    {"mayor", SCHEMA_TEXT, offsetof(struct town, mayor), .fallback = "ann", .check = check_lower, .restart = true},
    {"gates", SCHEMA_TEXTS, offsetof(struct town, gates), .max = 3, .fallback = "north south", .check = check_lower,
     .restart = true},
    {"well", SCHEMA_SECTION, .items = well_items},
    {"houses", SCHEMA_MAP, offsetof(struct town, houses), offsetof(struct town, house_count), sizeof(struct house),
     house_items, .max = 4, .builtin = builtin_house, .check = check_lower},
    {"cells", SCHEMA_LIST, offsetof(struct town, cells), offsetof(struct town, cell_count), sizeof(struct room),
     cell_items, .max = 3},
    {NULL}};

static struct town town;

static void clean(void)
{
    schema_finish(town_items, &town);
}

/* Reads into `town`; the errors, or "". */
static const char *read_with(const char *text, struct buf *errors)
{
    struct reader *r;
    memset(&town, 0, sizeof(town));
    int e = reader_open(text, strlen(text), "t", errors, &r);
    if (e == 0) {
        reader_read(r, town_items, &town);
        e = reader_close(r);
    }
    ck_assert_int_eq(e, errors->len ? -EINVAL : 0);
    return errors->len ? errors->data : "";
}

static void expect(const char *text, const char *errors)
{
    AUTO_BUF struct buf b = BUF_INIT(64 * KIB);
    ck_assert_str_eq(read_with(text, &b), errors);
}

START_TEST(nothing_said_is_all_defaults)
{
    const char *const nothings[] = {
        "", " \n\t# a comment\r\n", "...\n", "---\n", "~", "{}", "people:\nhouses: ~\nwell: null\ncells:\n"};
    for (size_t i = 0; i < ARRAY_SIZE(nothings); i++) {
        expect(nothings[i], "");
        ck_assert(town.open && town.people == 7 && town.age == 60000 && town.area == 1 << 30);
        ck_assert(town.season == SPRING && town.well.depth == 10 && town.cell_count == 0);
        ck_assert_str_eq(town.mayor, "ann");
        ck_assert_uint_eq(town.gates.count, 2);
        ck_assert_str_eq(town.gates.items[1], "south");
        ck_assert(town.gates.items[2] == NULL);
        ck_assert_uint_eq(town.house_count, 2);
        ck_assert_str_eq(town.houses[1].name, "mill");
        ck_assert(town.houses[1].size == 2048 && town.houses[1].room_count == 0);
        clean();
    }
}
END_TEST

START_TEST(what_is_said_replaces_the_default_key_by_key)
{
    expect("open: false\nage: 10s\nseason: summer\nmayor: \"bo\"\ngates: west\nwell: {depth: 3}\n"
           "houses:\n"
           "  mill:\n    size: 1MiB\n    rooms: {attic: {beds: 2}, cellar: }\n"
           "  hall: false\n"
           "  barn: {}\n"
           "cells: [{beds: 1}, {beds: 0}]\n",
           "");
    ck_assert(!town.open && town.people == 7 && town.age == 10000 && town.season == SUMMER && town.well.depth == 3);
    ck_assert_str_eq(town.mayor, "bo");
    ck_assert(town.gates.count == 1 && strcmp(town.gates.items[0], "west") == 0);
    ck_assert_uint_eq(town.house_count, 2);
    ck_assert_str_eq(town.houses[0].name, "mill");
    ck_assert_uint_eq(town.houses[0].size, 1 << 20);
    ck_assert_uint_eq(town.houses[0].room_count, 2);
    ck_assert_str_eq(town.houses[0].rooms[0].name, "attic");
    ck_assert_uint_eq(town.houses[0].rooms[0].beds, 2);
    ck_assert_uint_eq(town.houses[0].rooms[1].beds, 1);
    ck_assert_str_eq(town.houses[1].name, "barn");
    ck_assert(town.cell_count == 2 && town.cells[0].beds == 1 && town.cells[1].beds == 0);
    clean();
}
END_TEST

START_TEST(a_derived_default_sees_the_struct_and_the_rows_above)
{
    expect("houses: {barn: {rooms: {attic: {}, loft: {colour: red}}}}\nmayor: cy\n", "");
    ck_assert_str_eq(town.houses[0].rooms[0].colour, "attic-of-cy");
    ck_assert_str_eq(town.houses[0].rooms[1].colour, "red");
    clean();
}
END_TEST

static const struct {
    const char *text, *errors;
} wrongs[] = {
    {"peple: 1\n", "t:1:1: peple: unknown key; did you mean \"people\"?\n"},
    {"zzz: 1\n", "t:1:1: zzz: unknown key\n"},
    {"\"a\\tb\": 1\n", "t:1:1: contains a control character, or what is no character\n"},
    {"a b: 1\n", "t:1:1: \"a b\": unknown key\n"},
    {"<<: {people: 1}\n", "t:1:1: \"<<\": unknown key\n"},
    {"well:\n  depth: 1\n  depht: 2\n", "t:3:3: well.depht: unknown key; did you mean \"depth\"?\n"},
    {"people: 1\nopen: true\npeople: 2\n", "t:3:1: people: stands here twice, first in line 1\n"},
    {"people: 1\n\"people\": 2\n", "t:2:1: people: stands here twice, first in line 1\n"},
    {"houses: {a: {}, b: {}, a: {}}\n", "t:1:24: houses.a: stands here twice, first in line 1\n"},
    {"houses: {mill: false, mill: }\n", "t:1:23: houses.mill: stands here twice, first in line 1\n"},
    {"[1, 2]\n", "t:1:2: a map is expected, not a list\n"},
    {"town\n", "t:1:1: a map is expected, not a text\n"},
    {"well: 5\n", "t:1:7: well: a map is expected, not a text\n"},
    {"houses: [a]\n", "t:1:10: houses: a map is expected, not a list\n"},
    {"houses: {a: 5}\n", "t:1:13: houses.a: a map is expected, not a text\n"},
    {"houses: {a: true}\n", "t:1:13: houses.a: a map is expected, not a text\n"},
    {"houses: {mill: \"false\"}\n", "t:1:16: houses.mill: a map is expected, not a text\n"},
    {"houses: {mil: false}\n",
     "t:1:15: houses.mil: is not built in and cannot be taken away; did you mean \"mill\"?\n"},
    {"houses: {a: {rooms: {b: false}}}\n", "t:1:25: houses.a.rooms.b: a map is expected, not a text\n"},
    {"houses: {A: {}}\n", "t:1:10: houses.A: must be lower case\n"},
    {"houses: {a: {rooms: {b: {}, c: {}, d: {}}}}\n", "t:1:22: houses.a.rooms: has 3 members; 0 to 2 are allowed\n"},
    {"houses: {a: , b: , c: , d: , e: }\n", "t:1:10: houses: has 5 members; 0 to 4 are allowed\n"},
    {"houses: {a: , b: , c: }\n", "t:1:10: houses: has 5 members; 0 to 4 are allowed\n"}, /* with the built-in ones */
    {"cells: {}\n", "t:1:1: cells: a list of maps is expected, not a map\n"},
    {"cells: [{}, {beds: 3}, x]\n", "t:1:1: cells[0].beds: is missing: a whole number must be given\n"
                                    "t:1:24: cells[2]: a map is expected, not a text\n"},
    {"cells: [, , , ]\n", NULL},
    {"cells: [{beds: 1}, {beds: 1}, {beds: 1}, {beds: 1}]\n", "t:1:10: cells: has 4 members; 0 to 3 are allowed\n"},
    {"people: many\n", "t:1:9: people: \"many\" is not a whole number\n"},
    {"people: \"5\"\n", "t:1:9: people: a number stands without quotes\n"},
    {"people: -5\n", "t:1:9: people: \"-5\" is not a whole number\n"},
    {"people: 1001\n", "t:1:9: people: \"1001\" is out of range: 0 to 1000\n"},
    {"people: 4294967297\n", "t:1:9: people: \"4294967297\" is out of range: 0 to 1000\n"},
    {"people: 99999999999999999999\n", "t:1:9: people: \"99999999999999999999\" is out of range: 0 to 1000\n"},
    {"people: [1]\n", "t:1:10: people: a whole number is expected, not a list\n"},
    {"people: {a: 1}\n", "t:1:10: people: a whole number is expected, not a map\n"},
    {"open: yes\n", "t:1:7: open: \"yes\" is not true or false\n"},
    {"open: \"true\"\n", "t:1:7: open: \"true\" is not true or false\n"},
    {"age: 5\n", "t:1:6: age: \"5\" is not a duration, such as 250ms, 5m, 1h30m or 30d\n"},
    {"age: 61m\n", "t:1:6: age: \"61m\" is out of range: 0s to 1h\n"},
    {"area: 5GB\n", "t:1:7: area: \"5GB\" is not a size, such as 512, 64KiB or 10GiB\n"},
    {"houses: {a: {size: 1}}\n", "t:1:20: houses.a.size: \"1\" is out of range: 1KiB to 1MiB\n"},
    {"season: sumer\n", "t:1:9: season: \"sumer\" is none of spring, summer; did you mean \"summer\"?\n"},
    {"season: 1\n", "t:1:9: season: \"1\" is none of spring, summer\n"},
    {"mayor: ''\n", "t:1:8: mayor: must not be empty\n"},
    {"mayor: Ann\n", "t:1:8: mayor: must be lower case\n"},
    {"mayor: \"a\\0b\"\n", "t:1:8: mayor: contains a control character, or what is no character\n"},
    {"mayor: \"\\ud800\"\n", NULL},
    {"mayor: |\n  a\n  b\n", "t:2:1: mayor: contains a control character, or what is no character\n"},
    {"gates: [a, , b]\n", NULL},
    {"gates: [~, B, {}]\n", "t:1:9: gates[0]: must not be empty\n"
                            "t:1:12: gates[1]: must be lower case\n"
                            "t:1:9: gates[2]: a text is expected, not a map\n"},
    {"gates: [a, b, c, d]\n", "t:1:9: gates: has 4 members; 0 to 3 are allowed\n"},
    {"mayor: &m ann\nseason: *m\n", "t:2:10: season: aliases (*NAME) are not supported\n"},
    {"mayor: !!str ann\n", "t:1:14: mayor: tags (!NAME) are not supported\n"},
    {"well: !x {depth: 1}\n", "t:1:11: well: tags (!NAME) are not supported\n"},
    {"? [a]\n: 1\n", "t:1:4: a name as key is expected, not a list\n"},
    {"? *m\n: 1\n", NULL},
};

START_TEST(every_error_has_its_place_and_path)
{
    AUTO_BUF struct buf b = BUF_INIT(64 * KIB);
    const char *errors = read_with(wrongs[_i].text, &b);
    if (wrongs[_i].errors)
        ck_assert_str_eq(errors, wrongs[_i].errors);
    else
        ck_assert_msg(*errors, "%s", wrongs[_i].text);
    clean();
}
END_TEST

START_TEST(all_errors_are_found_at_once)
{
    expect("people: x\nwell: {depth: 1000}\nage: 1y\nfoo: 1\n"
           "houses:\n  a: {size: 0}\n  B: {}\n",
           "t:4:1: foo: unknown key\n"
           "t:1:9: people: \"x\" is not a whole number\n"
           "t:3:6: age: \"1y\" is not a duration, such as 250ms, 5m, 1h30m or 30d\n"
           "t:2:15: well.depth: \"1000\" is out of range: 0 to 100\n"
           "t:6:13: houses.a.size: \"0\" is out of range: 1KiB to 1MiB\n"
           "t:7:3: houses.B: must be lower case\n");
    clean();
}
END_TEST

static const struct {
    const char *text;
    size_t len;
    const char *errors; /* a beginning */
} broken[] = {
    {"a: b: c\n", 8, "t:1:5: "},
    {"a: [\n", 5, "t:2:1: "},
    {"a: \"x\n", 6, "t:"},
    {"people: 1\n---\npeople: 2\n", 24, "t:3:1: a second document"},
    {"people: 1\n...\n[\n", 16, "t:"},
    {"mayor: a\0b\n", 11, "t:1:9: there is a NUL byte here\n"},
    {"a: 1\nmayor: \xff\n", 14, "t:2:8: this is not UTF-8\n"},
    {"mayor: \xc3\xb6\xc3\n", 11, "t:1:9: this is not UTF-8\n"},
    {">0", 2, "t:1:1: this is no YAML"},
    {"mayor: \xed\xa0\x80\n", 11, "t:1:8: this is not UTF-8\n"},
};

START_TEST(what_is_no_yaml_is_refused_with_its_place)
{
    AUTO_BUF struct buf b = BUF_INIT(64 * KIB);
    struct reader *r = NULL;
    ck_assert_int_eq(reader_open(broken[_i].text, broken[_i].len, "t", &b, &r), -EINVAL);
    ck_assert(r == NULL);
    ck_assert_msg(strncmp(b.data, broken[_i].errors, strlen(broken[_i].errors)) == 0, "%s", b.data);
    ck_assert_int_eq(b.data[b.len - 1], '\n');
}
END_TEST

START_TEST(nesting_without_end_is_refused)
{
    char text[20000];
    memset(text, '[', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    AUTO_BUF struct buf b = BUF_INIT(64 * KIB);
    struct reader *r = NULL;
    ck_assert_int_eq(reader_open(text, strlen(text), "t", &b, &r), -EINVAL);
}
END_TEST

START_TEST(errors_without_number_are_cut_off)
{
    AUTO_BUF struct buf text = BUF_INIT(64 * KIB);
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(buf_addf(&text, "key%d: 1\n", i), 0);
    AUTO_BUF struct buf b = BUF_INIT(64 * KIB);
    (void)read_with(text.data, &b);
    int lines = 0;
    for (const char *p = b.data; (p = strchr(p, '\n')); p++)
        lines++;
    ck_assert_int_eq(lines, 100);
    ck_assert(strstr(b.data, "and there are more errors\n") != NULL);
    clean();
    AUTO_BUF struct buf small = BUF_INIT(60); /* whole lines, as many as there is room for */
    (void)read_with(text.data, &small);
    ck_assert_str_eq(small.data, "t:1:1: key0: unknown key\nt:2:1: key1: unknown key\n");
    clean();
    AUTO_BUF struct buf none = BUF_INIT(0);
    struct reader *r;
    ck_assert_int_eq(reader_open("a: 1", 4, "t", &none, &r), 0);
    reader_read(r, town_items, &town);
    ck_assert_int_eq(reader_close(r), -EINVAL);
    clean();
}
END_TEST

START_TEST(a_long_value_is_quoted_in_part_and_a_long_text_refused)
{
    AUTO_BUF struct buf text = BUF_INIT(64 * KIB), b = BUF_INIT(64 * KIB);
    ck_assert_int_eq(buf_adds(&text, "season: "), 0);
    for (int i = 0; i < 40; i++)
        ck_assert_int_eq(buf_adds(&text, "\xc3\xb6"), 0);
    expect(text.data, "t:1:9: season: \""
                      "\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6"
                      "\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6"
                      "\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6\xc3\xb6"
                      "...\" is none of spring, summer\n");
    clean();
    for (int i = 0; i < 4100; i++)
        ck_assert_int_eq(buf_adds(&text, "x"), 0);
    ck_assert_str_eq(read_with(text.data, &b), "t:1:9: season: is longer than 4096 bytes\n");
    clean();
}
END_TEST

START_TEST(an_error_of_the_callers_stands_at_the_longest_known_part_of_its_path)
{
    static const struct {
        const char *keys[4];
        const char *errors;
    } cases[] = {
        {{"well", "depth", NULL}, "t:2:10: well.depth: bad 5\n"},
        {{"well", "width", NULL}, "t:2:3: well.width: bad 5\n"},
        {{"mayor", NULL}, "t:1:1: mayor: bad 5\n"},
        {{NULL}, "t:1:1: bad 5\n"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_BUF struct buf b = BUF_INIT(KIB);
        struct reader *r;
        const char text[] = "well:\n  depth: 5\n";
        ck_assert_int_eq(reader_open(text, strlen(text), "t", &b, &r), 0);
        reader_read(r, town_items, &town);
        ck_assert(reader_is_good(r));
        reader_error(r, cases[i].keys, "bad %d", 5);
        ck_assert(!reader_is_good(r));
        ck_assert_int_eq(reader_close(r), -EINVAL);
        ck_assert_str_eq(b.data, cases[i].errors);
        clean();
    }
}
END_TEST

START_TEST(restart_keys_are_those_that_differ_and_are_marked)
{
    expect("open: false\nmayor: bo\ngates: [north, west]\nwell: {depth: 11}\nage: 2m\nseason: summer\n", "");
    struct town now = town;
    expect("", "");
    AUTO_BUF struct buf keys = BUF_INIT(KIB);
    ck_assert_int_eq(schema_restart_keys(town_items, &town, &now, &keys), 0);
    ck_assert_str_eq(keys.data, "open, age, mayor, gates, well.depth");
    buf_reset(&keys);
    ck_assert_int_eq(schema_restart_keys(town_items, &now, &now, &keys), 0);
    ck_assert_uint_eq(keys.len, 0);
    schema_finish(town_items, &now);
    clean();
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("reader");
    tcase_add_test(t, nothing_said_is_all_defaults);
    tcase_add_test(t, what_is_said_replaces_the_default_key_by_key);
    tcase_add_test(t, a_derived_default_sees_the_struct_and_the_rows_above);
    tcase_add_loop_test(t, every_error_has_its_place_and_path, 0, ARRAY_SIZE(wrongs));
    tcase_add_test(t, all_errors_are_found_at_once);
    tcase_add_loop_test(t, what_is_no_yaml_is_refused_with_its_place, 0, ARRAY_SIZE(broken));
    tcase_add_test(t, nesting_without_end_is_refused);
    tcase_add_test(t, errors_without_number_are_cut_off);
    tcase_add_test(t, a_long_value_is_quoted_in_part_and_a_long_text_refused);
    tcase_add_test(t, an_error_of_the_callers_stands_at_the_longest_known_part_of_its_path);
    tcase_add_test(t, restart_keys_are_those_that_differ_and_are_marked);
    Suite *s = suite_create("reader");
    suite_add_tcase(s, t);
    return suite_run(s);
}
