/* The daemon's command line. */
#pragma once

int daemon_main(int argc, char **argv);
