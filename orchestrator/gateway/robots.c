#include "orchestrator/gateway/robots.h"

#include <string.h>
#include <strings.h>

const char *const robots_agents[] = {
        /* by their own word: "Googlebot", "bingbot", "Slackbot-LinkExpanding", "Discordbot" ... */
        "bot/",
        "bot ",
        "bot;",
        "bot-",
        "bot)",
        "crawler",
        "spider",
        "slurp",
        /* link previews that do not say bot */
        "facebookexternalhit",
        "facebookcatalog",
        "whatsapp/",
        "skypeuripreview",
        "microsoft office",
        "msteams",
        "mattermost",
        "embedly",
        "iframely",
        "linkpreview",
        "link preview",
        "slack-imgproxy",
        "google-read-aloud",
        "googleimageproxy",
        "bingpreview",
        "mastodon",
        "preview service",
        /* monitors and probes */
        "kube-probe",
        "elb-healthchecker",
        "googlehc",
        "pingdom",
        "statuscake",
        "site24x7",
        "nagios",
        "check_http",
        "zabbix",
        "blackbox exporter",
        "blackbox-exporter",
        "prometheus/",
        "uptime",
        "healthcheck",
        "health-check",
        "haproxy/",
        "mayfly-check",
        /* scanners */
        "zgrab",
        "masscan",
        "nmap",
        "nuclei",
        "censysinspect",
        "expanse",
        NULL,
};

bool robots_match(const char *agent, size_t n) {
        char first;

        for (const char *const *r = robots_agents; *r; r++) {
                size_t n_robot = strlen(*r);

                first = **r;
                for (size_t i = 0; i + n_robot <= n; i++)
                        if ((agent[i] | 0x20) == (first | 0x20) &&
                            strncasecmp(agent + i, *r, n_robot) == 0)
                                return true;
        }
        return false;
}
