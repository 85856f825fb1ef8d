#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "orchestrator/base/io.h"
#include "providers/process/bridge.h"

static void ipv6_off(const char *path) {
        auto_cleanup(closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd >= 0)
                (void) !write(fd, "1", 1); /* a kernel without IPv6 has no such file */
}

int netns_prepare(void) {
        auto_cleanup(closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK };

        ipv6_off("/proc/sys/net/ipv6/conf/all/disable_ipv6");
        ipv6_off("/proc/sys/net/ipv6/conf/default/disable_ipv6");
        if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
                return -errno;
        return 0;
}
