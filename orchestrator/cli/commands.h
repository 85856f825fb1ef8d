/* The commands of mayfly, one file each. argv[0] is the command's name; the result is the exit status. */
#pragma once

int cmd_check(int argc, char **argv);
int cmd_render(int argc, char **argv);
int cmd_plan(int argc, char **argv);
/* provider-check.c: "provider check PROGRAM ..." */
int cmd_provider(int argc, char **argv);
