/* The parts of a network that the kernel does for us directly, without a program in between. */
#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
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

/* As ip-netns(8) does: the folder is a shared mount, so that names made and removed are so for
 * everybody. */
int netns_folder_share(void) {
        if (mount("", NETNS_FOLDER, "none", MS_SHARED | MS_REC, NULL) == 0)
                return 0;
        if (errno != EINVAL ||
            mount(NETNS_FOLDER, NETNS_FOLDER, "none", MS_BIND | MS_REC, NULL) < 0 ||
            mount("", NETNS_FOLDER, "none", MS_SHARED | MS_REC, NULL) < 0)
                return -errno;
        return 0;
}

int netns_make_named(const char *path) {
        int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);

        if (fd < 0)
                return -errno;
        close(fd);
        if (unshare(CLONE_NEWNET) < 0 ||
            mount("/proc/self/ns/net", path, "none", MS_BIND, NULL) < 0)
                return -errno;
        return netns_prepare();
}

bool nft_table_exists(const char *name) {
        auto_cleanup(closep) int fd =
                socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
        struct {
                struct nlmsghdr head;
                struct nfgenmsg family;
                struct nlattr attribute;
                char name[64];
        } request = {
                .head = { .nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE,
                          .nlmsg_flags = NLM_F_REQUEST },
                .family = { .nfgen_family = 1 /* NFPROTO_INET */, .version = NFNETLINK_V0 },
                .attribute = { .nla_type = NFTA_TABLE_NAME,
                               .nla_len = (uint16_t) (sizeof(struct nlattr) + strlen(name) + 1) },
        };
        struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
        char answer[4096];
        ssize_t n;

        if (fd < 0 || strlen(name) >= sizeof(request.name))
                return false;
        memcpy(request.name, name, strlen(name) + 1);
        request.head.nlmsg_len =
                (uint32_t) (offsetof(typeof(request), name) + NLMSG_ALIGN(strlen(name) + 1));
        if (sendto(fd, &request, request.head.nlmsg_len, 0, (struct sockaddr *) &kernel,
                   sizeof(kernel)) < 0)
                return false;
        n = recv(fd, answer, sizeof(answer), 0);
        return n >= (ssize_t) sizeof(struct nlmsghdr) &&
               ((struct nlmsghdr *) answer)->nlmsg_type ==
                       (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE);
}
