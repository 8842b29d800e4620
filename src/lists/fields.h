/*
 * Fields of custom resources that name images, by kind and path: "SparkApplication:.spec.driver.image". Inner to the
 * floor.
 */
#pragma once

#include "lists/reading.h"

/* A path is ".key.key", where "[]" behind a key means each member of a list, and "*" for a key each value of a map;
 * "*" for a kind means every one. NULL, or what is wrong. */
const char *field_wrong(const char *field);
/* Reads those of the object that are known, and those of the list's options. */
void fields_read(struct reading *r, struct yaml_node *object, const char *kind);
