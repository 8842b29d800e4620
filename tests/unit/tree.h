/* A directory of a test's own, when the test is over. */
#pragma once

/* With all that is in it; what cannot be removed fails the test. */
void tree_remove(const char *path);
