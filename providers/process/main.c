#include "providers/process/types.h"

#define TEXT   "{\"type\":\"string\"}"
#define OBJECT "{\"type\":\"object\"}"

static const SdkType types[] = {
        { .type = "network",
          .provision = network_provision,
          .inspect = network_inspect,
          .deprovision = network_deprovision,
          .params_schema =
                  "{\"type\":\"object\",\"properties\":{\"egress\":{\"enum\":[\"none\",\"host\"],"
                  "\"description\":\"the way out of its builds\"}}}",
          .outputs = "namespace address mode",
          .scope = "generation" },
        { .type = "build",
          .provision = build_provision,
          .inspect = build_inspect,
          .deprovision = build_deprovision,
          .params_schema =
                  "{\"type\":\"object\",\"properties\":{\"workload\":" TEXT ",\"directory\":" TEXT
                  ",\"checkout\":" TEXT ",\"network\":" TEXT ",\"variables\":" OBJECT
                  ",\"inputs\":{\"type\":\"array\"},\"store\":" OBJECT
                  "},\"required\":[\"command\",\"network\"]}",
          .outputs = "",
          .scope = "generation",
          .cost = "processor while it lasts" },
        { .type = "workload",
          .provision = workload_provision,
          .inspect = workload_inspect,
          .deprovision = workload_deprovision,
          .sleep = workload_sleep,
          .wake = workload_wake,
          .logs = workload_logs,
          .exec = workload_exec,
          .params_schema = "{\"type\":\"object\",\"properties\":{\"workload\":" TEXT
                           ",\"directory\":" TEXT ",\"checkout\":" TEXT ",\"network\":" TEXT
                           ",\"ports\":" OBJECT ",\"containers\":{\"type\":\"array\"}},"
                           "\"required\":[\"workload\",\"checkout\",\"network\",\"containers\"]}",
          .outputs = "endpoints started_ms",
          .scope = "generation",
          .cost = "memory and processor while awake" },
        { 0 },
};

int main(int argc, char **argv) {
        static const SdkProvider provider = {
                .name = "process",
                .summary =
                        "Runs builds and workloads as sandboxed processes of this machine, each environment in\n"
                        "a network of its own.",
                .types = types,
                .list = process_list,
                .watch = process_watch,
        };

        return sdk_main(argc, argv, &provider);
}
