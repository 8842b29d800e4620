/*
 * A folder of the test's own, with what stands in it. Names are relative to it; what they return is good until some
 * calls later.
 */
#pragma once

void folder_create(void);
void folder_remove(void);
const char *folder_path(const char *name);
void folder_put(const char *name, const char *text);
void folder_make(const char *name);
void folder_link(const char *target, const char *name);
void folder_rename(const char *from, const char *to);
