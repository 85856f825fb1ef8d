/* What builds of one environment made, so that an unchanged build is not repeated.
 *
 * The store lies in a volume that belongs to the environment ("store" of a build's params), in a folder
 * of ours alone: builds never see it, no other environment has it, and it goes with the volume.
 *
 *   STORE/lock                held by the build that works on a checkout of this environment
 *   STORE/trees/CHECKOUT      what the checkout held before the first build touched it
 *   STORE/trees/CHECKOUT.run  a build is under way in it; found by another call, it was cut short
 *   STORE/trees/CHECKOUT.cut  something beside the builds' own output may lie in it: nothing is kept
 *   STORE/kept/KEY/           the output of a build: "list", and the files by number
 *   STORE/new/                one that is being written; renamed when it is whole
 *
 * KEY is a digest of all that decides: the trust class, the command, the variables, the folder, the
 * machine's programs, and those files of the untouched checkout that "inputs" name (without inputs: all).
 * The output is every difference between the checkout before and after the command, with the state that
 * each path had before. It is put into a checkout only where all of these paths are in that state, so
 * nothing that a push brought is ever overwritten by something old. Kept files are read against their
 * digests first: a power loss costs a build, never a wrong one.
 *
 * The store is a help only: whatever fails in it is said in a log line, and the command runs. */
#pragma once

#include "providers/process/tree.h"
#include "providers/sdk/sdk.h"

typedef struct Store {
        const SdkCall *call;      /* borrowed */
        int fd, lock_fd, tree_fd; /* -1: there is no store, or it could not be had */
        char *name;               /* owned: of the checkout, in trees/ */
        char key[TREE_DIGEST];    /* empty: nothing can be taken or kept */
        bool cut;                 /* nothing of this build may be kept */
        Tree before;
} Store;

/* Never fails: without a store, or when another build holds it for too long, there is none. */
void store_open(const SdkCall *call, Store *ret);
void store_done(Store *s);
/* 1 when the output of an earlier build is in the checkout now, owned by uid; *ret_generation is that
 * build's. 0 when the command has to run. */
int store_take(Store *s, int64_t user, int64_t *ret_generation);
/* Around the command. */
void store_begin(Store *s);
void store_keep(Store *s);
