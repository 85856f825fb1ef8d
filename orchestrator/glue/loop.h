/* The event loop: sd-event, one thread (sd-event(3)). A callback does one bounded step and returns;
 * it cannot fail. Everything a turn wants done after its commit is posted to the end of the turn. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "orchestrator/base/error.h"

typedef struct Loop Loop;
typedef struct LoopSource LoopSource;

int loop_new(Loop **ret, Error *reterr);
Loop *loop_free(Loop *loop);

/* Runs until loop_exit(); returns its code or a negative errno. */
int loop_run(Loop *loop, Error *reterr);
void loop_exit(Loop *loop, int code);

/* Waits for events on a descriptor that stays the caller's. Every source has a description. */
typedef void (*LoopIoFunc)(void *userdata, int fd, uint32_t events);
int loop_add_io(Loop *loop, int fd, uint32_t events, const char *description, LoopIoFunc func,
                void *userdata, LoopSource **ret, Error *reterr);
int loop_source_set_events(LoopSource *source, uint32_t events);
/* A source that can always be busy (a proxy's traffic) waits until nothing else is ready, ends of turns
 * included, so that it cannot starve them. */
int loop_source_set_background(LoopSource *source);

/* A one-shot timer on the boot clock, off until armed; it stays the caller's and can be armed again.
 * Arming for a time that has passed fires in the next turn. */
typedef void (*LoopFunc)(void *userdata);
int loop_add_timer(Loop *loop, const char *description, LoopFunc func, void *userdata,
                   LoopSource **ret, Error *reterr);
int loop_timer_arm(LoopSource *timer, uint64_t boot_usec);
int loop_timer_arm_after(LoopSource *timer, uint64_t usec);
void loop_timer_disarm(LoopSource *timer);
uint64_t loop_boot_usec(void);

/* Runs func once at the end of this turn, after every other ready source. Setting it again before it
 * ran changes nothing. */
int loop_add_turn_end(Loop *loop, const char *description, LoopFunc func, void *userdata,
                      LoopSource **ret, Error *reterr);
int loop_turn_end_set(LoopSource *source);

/* Calls func for signals that are blocked in this process first (SIGTERM, SIGINT, SIGHUP ...). */
typedef void (*LoopSignalFunc)(void *userdata, int signal);
int loop_add_signal(Loop *loop, int signal, LoopSignalFunc func, void *userdata, LoopSource **ret,
                    Error *reterr);

/* Frees a source and takes it out of its loop; NULL is fine. Returns NULL. */
LoopSource *loop_source_free(LoopSource *source);

/* Feeds systemd's watchdog when one is set (sd_watchdog_enabled(3)). */
int loop_enable_watchdog(Loop *loop);
/* Tells the service manager "READY=1" and the like (sd_notify(3)); nothing without one. */
void loop_notify(const char *state);
/* Sockets passed by systemd (sd_listen_fds(3)): how many, the first is descriptor 3. */
int loop_listen_fds(void);

DEFINE_CLEANUP(Loop *, loop_free)
DEFINE_CLEANUP(LoopSource *, loop_source_free)
