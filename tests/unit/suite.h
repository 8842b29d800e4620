/* The run of a suite, as main() of every test program ends with it: what it returns is the program's exit status. */
#pragma once

#include <check.h>

int suite_run(Suite *suite);
