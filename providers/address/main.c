#include "providers/address/address.h"
#include "providers/sdk/computed.h"

#define WORKLOAD                                              \
        "\"workload\":{\"type\":\"string\",\"maxLength\":63," \
        "\"description\":\"name of a workload of this environment\"}"
#define PORT "\"port\":{\"description\":\"name or number of one of its service ports\"}"
#define OBJECT(properties, required)                                                      \
        "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{" properties \
        "},\"required\":[" required "]}"

#define COMPUTED .inspect = computed_inspect, .deprovision = computed_deprovision, .computed = true

static const SdkType types[] = {
        { .type = "service",
          .provision = address_service,
          COMPUTED,
          .scope = "generation",
          .params_schema = OBJECT(WORKLOAD, ""),
          .outputs = "name hostname" },
        { .type = "service-port",
          .provision = address_service_port,
          COMPUTED,
          .scope = "generation",
          .params_schema = OBJECT(WORKLOAD "," PORT, "\"workload\",\"port\""),
          .outputs = "hostname port" },
        { .type = "dns",
          .provision = address_dns,
          COMPUTED,
          .scope = "environment",
          .params_schema = OBJECT("", ""),
          .outputs = "host url" },
        { .type = "route",
          .provision = address_route,
          COMPUTED,
          .scope = "generation",
          .params_schema =
                  OBJECT(WORKLOAD "," PORT ","
                                  "\"host\":{\"type\":\"string\",\"maxLength\":253,"
                                  "\"description\":\"the environment's own host, or empty\"},"
                                  "\"path\":{\"type\":\"string\",\"maxLength\":1024,"
                                  "\"description\":\"literal prefix; '/' when absent\"}",
                         "\"workload\",\"port\""),
          .outputs = "host path workload port" },
        { 0 },
};

int main(int argc, char **argv) {
        static const SdkProvider provider = {
                .name = "address",
                .summary =
                        "Computes the names and ports under which workloads of an environment reach\n"
                        "each other and are reached. Makes nothing.",
                .types = types,
                .list = computed_list,
        };

        return sdk_main(argc, argv, &provider);
}
