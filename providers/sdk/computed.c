#include "providers/sdk/computed.h"

#include "orchestrator/base/str.h"

int computed_provision(SdkCall *call, json_t *outputs, Error *reterr) {
        call->ret_outputs = outputs;
        call->ret_state = json_pack("{s:s}", "marker", call->marker);
        return outputs && call->ret_state ? 0 : -ENOMEM;
}

int computed_inspect(SdkCall *call, Error *reterr) {
        const char *marker = sdk_string(call->state, "marker", NULL);

        if (marker)
                call->ret_extra = json_pack("{s:s, s:s, s:b}", "present", "present", "marker",
                                            marker, "ready", 1);
        else
                call->ret_extra = json_pack("{s:s, s:s, s:b, s:s}", "present", "absent", "marker",
                                            "", "ready", 0, "detail", "It was never computed.");
        return call->ret_extra ? 0 : -ENOMEM;
}

int computed_deprovision(SdkCall *call, Error *reterr) {
        const char *marker = sdk_string(call->state, "marker", NULL);

        if (marker && !streq(marker, call->marker))
                return error_set(reterr, -EEXIST, "The state is that of '%s', not of '%s'", marker,
                                 call->marker);
        call->ret_extra = json_pack("{s:[], s:[]}", "removed", "absent");
        return call->ret_extra ? 0 : -ENOMEM;
}

int computed_list(SdkCall *call, Error *reterr) {
        call->ret_extra = json_pack("{s:b,s:b}", "complete", 1, "computed", 1);
        return call->ret_extra ? 0 : -ENOMEM;
}
