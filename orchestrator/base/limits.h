/* Every limit of the project in one place: what comes from outside is bounded by one of these. Sizes
 * are bytes, times milliseconds, the rest counts. */
#pragma once

/* dependency files and configuration */
#define LIMIT_SPEC_FILE_BYTES    (1024 * 1024)
#define LIMIT_SPEC_DEPTH         64
#define LIMIT_SPEC_NODES         50000
#define LIMIT_SPEC_ALIASES       10000
#define LIMIT_SPEC_FAULTS        100
#define LIMIT_SPEC_REPORT        1000 /* lines of what becomes of a Compose file */
#define LIMIT_SPEC_PORTS         1000 /* of one workload */
#define LIMIT_SPEC_SCORE_FILES   64
#define LIMIT_SPEC_SOURCE_BYTES  (1024 * 1024)
#define LIMIT_SPEC_SOURCES_BYTES (4 * 1024 * 1024) /* all of one generation */
#define LIMIT_CONFIG_BYTES       (1024 * 1024)
#define LIMIT_CONFIG_DEFINITIONS 200

/* providers */
#define LIMIT_PROVIDER_LINE_BYTES      (1024 * 1024)
#define LIMIT_PROVIDER_REPLY_BYTES     (16 * 1024 * 1024)
#define LIMIT_PROVIDER_STDERR_BYTES    (64 * 1024)
#define LIMIT_PROVIDER_REQUEST_BYTES   (8 * 1024 * 1024)
#define LIMIT_PROVIDER_CALLS           16   /* at the same time */
#define LIMIT_PROVIDER_GRACE_MS        2000 /* between SIGTERM and SIGKILL of an overdue provider */
#define LIMIT_CHECKOUT_BYTES           (2LL * 1024 * 1024 * 1024)
#define LIMIT_CHECKOUT_ENTRIES         1000000
#define LIMIT_CHECKOUT_LIST_BYTES      (256 * 1024 * 1024)
#define LIMIT_CHECKOUT_SUBMODULES      100
#define LIMIT_CHECKOUT_SUBMODULE_DEPTH 8
#define LIMIT_FETCH_FILE_BYTES         (8LL * 1024 * 1024 * 1024) /* one file that git writes */

/* API */
#define LIMIT_API_BODY_BYTES   (1024 * 1024)
#define LIMIT_API_CONNECTIONS  256
#define LIMIT_API_EVENTS_PAGE  1000
#define LIMIT_API_STREAM_BYTES (4 * 1024 * 1024) /* written to a follower that does not read */
#define LIMIT_API_STREAMS      64
#define LIMIT_API_LOG_LINES    100000
#define LIMIT_API_EXEC_MS      (60 * 60 * 1000)
#define LIMIT_API_LOGS_MS      60000
#define LIMIT_API_FOLLOW_MS    (24LL * 60 * 60 * 1000)
#define LIMIT_BACKUP_MS        (30 * 60 * 1000) /* to make the copy, not to send it */
#define LIMIT_API_TEXT_BYTES   1024             /* a reason, an owner, a team */

/* listings of a repository's branches */
#define LIMIT_BRANCHES_BYTES   (8 * 1024 * 1024)
#define LIMIT_BRANCHES_MS      60000
#define LIMIT_BRANCHES_JOBS    4
#define LIMIT_BRANCHES_WAITING 256
#define LIMIT_REPOSITORY_BYTES 1024

/* gateway */
#define LIMIT_DOOR_HEAD_BYTES           16384
#define LIMIT_DOOR_HEAD_MS              10000
#define LIMIT_DOOR_HEADERS              100
#define LIMIT_DOOR_CONNECTIONS          8192
#define LIMIT_DOOR_HELD_PER_ENVIRONMENT 256
#define LIMIT_DOOR_HOLD_MS              60000
#define LIMIT_DOOR_CONNECT_MS           5000
#define LIMIT_DOOR_REFUSED_MS           5000 /* an endpoint that refuses is tried again for so long */
#define LIMIT_DOOR_RETRY_MS             50
#define LIMIT_DOOR_LINGER_MS            2000 /* for a client to read the end of an answer */
#define LIMIT_DOOR_HALF_MS              (5 * 60 * 1000) /* of silence after the client's last word */
#define LIMIT_DOOR_SILENT_MS            (60 * 1000)     /* open without bytes: not in use */
#define LIMIT_DOOR_PENDING_BYTES        (64 * 1024 * 1024) /* read, not yet written, of all */
#define LIMIT_DOOR_TOLD_MS              (60 * 1000) /* between two reports of visits to what is awake */
#define LIMIT_ROUTE_PATHS               100         /* of one host */
#define LIMIT_HAPROXY_REPLY_BYTES       (16 * 1024 * 1024)
#define LIMIT_HAPROXY_CALL_MS           5000
#define LIMIT_HAPROXY_THREADS           8

/* names */
#define LIMIT_LABEL        63 /* RFC 1035, section 2.3.4 */
#define LIMIT_BRANCH_BYTES 255
#define LIMIT_PROJECT_NAME 40

/* ledger */
#define LIMIT_ANCHOR_EVENTS 64 /* events that the ledger may be ahead of its anchor */

/* engine */
#define LIMIT_TRANSIENT_TRIES    6
#define LIMIT_TRANSIENT_FIRST_MS 10000
#define LIMIT_STUCK_RETRY_MS     (24LL * 60 * 60 * 1000)
#define LIMIT_GRAPH_RESOURCES    500
#define LIMIT_ENVIRONMENTS       10000
#define LIMIT_EVENT_TEXT_BYTES   4096
#define LIMIT_PARSED_BYTES       (512 * 1024) /* text of what is kept parsed */

/* process provider */
#define LIMIT_PROCESS_STRINGS           10000 /* arguments or variables of one program */
#define LIMIT_PROCESS_CONTAINERS        32
#define LIMIT_PROCESS_FILES             256 /* declared files, or volumes, of one container */
#define LIMIT_PROCESS_PORTS             64
#define LIMIT_PROCESS_CLIENTS           32  /* of one keeper */
#define LIMIT_PROCESS_CONNECTIONS       512 /* through one forwarder */
#define LIMIT_PROCESS_PIDS              1024 /* processes of one container, unless the admin says otherwise */
#define LIMIT_PROCESS_LOG_BYTES         (1024 * 1024) /* one log file; there are LIMIT_PROCESS_LOG_FILES */
#define LIMIT_PROCESS_LOG_FILES         4
#define LIMIT_PROCESS_LOG_LINE          8192
#define LIMIT_PROCESS_LOG_TAIL          20                     /* lines repeated in an error */
#define LIMIT_PROCESS_TMP_BYTES         (1024LL * 1024 * 1024) /* /tmp of one container */
#define LIMIT_PROCESS_CONTROL_BYTES     (64 * 1024)            /* one message to or from a keeper */
#define LIMIT_PROCESS_BUILD_LOG_BYTES   (512 * 1024) /* of a build's output in the reply */
#define LIMIT_PROCESS_QUICK_EXITS       3            /* while a workload starts */
#define LIMIT_PROCESS_RESTART_FIRST_MS  200
#define LIMIT_PROCESS_RESTART_MAX_MS    60000
#define LIMIT_PROCESS_LIVENESS_MS       10000
#define LIMIT_PROCESS_LIVENESS_FAILURES 3
#define LIMIT_PROCESS_PROBE_MS          1000

/* unchanged builds: what is compared, one output, and the outputs of one environment */
#define LIMIT_BUILD_INPUTS         1000
#define LIMIT_BUILD_TREE_ENTRIES   200000
#define LIMIT_BUILD_TREE_BYTES     (4LL * 1024 * 1024 * 1024)
#define LIMIT_BUILD_OUTPUT_ENTRIES 100000
#define LIMIT_BUILD_OUTPUT_BYTES   (512LL * 1024 * 1024)
#define LIMIT_BUILD_STORE_BYTES    (1024LL * 1024 * 1024)
#define LIMIT_BUILD_STORE_KEPT     16

/* provider calls, as the engine makes them */
#define LIMIT_PROVIDER_BUILDS                8 /* of the calls: builds never hold up a wake or a removal */
#define LIMIT_PROVIDER_CALLS_PER_ENVIRONMENT 8
#define LIMIT_PROVIDER_STREAMS               64
#define LIMIT_PROVIDER_MESSAGE_BYTES         1000
#define LIMIT_PROVIDER_SAID                  20     /* log and progress lines of one call */
#define LIMIT_PROVIDER_SAID_BYTES            2000   /* of one of them */
#define LIMIT_PROVIDER_LISTED                100000 /* things in one answer to list */
#define LIMIT_PROVIDER_LIST_BYTES            (64 * 1024 * 1024) /* of it */
#define LIMIT_PROVIDER_MARKER_BYTES          128                /* three ids; of things in a list */
#define LIMIT_DEPENDENCY_MS                  (10LL * 60 * 1000) /* "dependency" is an attempt after this */
#define LIMIT_THROTTLED_MS                   (60LL * 60 * 1000) /* and "throttled" after this */
#define LIMIT_SLOW_MS                        (5LL * 60 * 1000) /* a provider that is asked too much rests no longer */
#define LIMIT_COMPARE_MS                     (10LL * 60 * 1000) /* no list of branches takes longer */
#define LIMIT_REPAIR_CALM_MS                 (10LL * 60 * 1000) /* ready for this long: repairs count anew */
#define LIMIT_LOOKED_MS                      (60LL * 1000) /* what an inspection saw is taken for true */
#define LIMIT_DRAIN_MS                       3000 /* between a route's move and the end of what it left */
#define LIMIT_ORPHANS                        1000
#define LIMIT_ORPHAN_TIMES                   3 /* complete lists, over LIMIT_ORPHAN_AGE_MS */
#define LIMIT_ORPHAN_AGE_MS                  (24LL * 60 * 60 * 1000)
#define LIMIT_ORPHAN_LOOK_MS                 (12LL * 60 * 60 * 1000) /* while one is known */
#define LIMIT_ORPHAN_CONFIRM_MS              (2LL * 60 * 1000) /* for the list that confirms its end */
#define LIMIT_VERIFIES                       8 /* receipts that are held against the world at once */
#define LIMIT_VERIFY_LOOKS                   500 /* resources of one that are inspected; of more, the newest */
#define LIMIT_INTENT_KEEP_MS                 (7LL * 24 * 60 * 60 * 1000) /* ended ones */
#define LIMIT_GONE_ROUTE_MS \
        (90LL * 24 * 60 * 60 * 1000)               /* how long an address says who was there */
#define LIMIT_PRUNE_MS          (60LL * 60 * 1000) /* between two batches */
#define LIMIT_PRUNE_ROWS        500                /* of each kind in one batch */
#define LIMIT_NOTES             20  /* of one resource, see LIMIT_PROVIDER_MESSAGE_BYTES */
#define LIMIT_REPORT_ENTRIES    500 /* things removed or absent in one answer */
#define LIMIT_REPORT_NAME_BYTES 300
#define LIMIT_RECEIPT_RESOURCES 2000 /* in full; of more, the newest */
#define LIMIT_RECEIPT_LATER     200  /* events after it that are shown with it */
#define LIMIT_RECEIPT_OTHERS    100  /* receipts of the same name that are listed */

/* clocks and policies */
#define LIMIT_CLOCK_STEP_MS   (2LL * 60 * 1000)
#define LIMIT_CLOCK_DRIFT_MS  (10LL * 60 * 1000) /* of smaller steps, in LIMIT_CLOCK_SPAN_MS */
#define LIMIT_CLOCK_SPAN_MS   (24LL * 60 * 60 * 1000)
#define LIMIT_CLOCK_AWAY_MS   (24LL * 60 * 60 * 1000)
#define LIMIT_CLOCK_OFF_MS    (7LL * 24 * 60 * 60 * 1000) /* between two boots; more is not believed */
#define LIMIT_CLOCK_HOLD_MS   (60LL * 60 * 1000)
#define LIMIT_CLOCK_MOVES     32 /* times that deadlines were moved, told apart */
#define LIMIT_POLICY_GRACE_MS (60LL * 60 * 1000)
