"""Where data goes that leaves: the tables of the pack `exfiltration`.

Names are those under which services let anybody have, without being known, an address that collects requests, a place
for a text or a file, or a tunnel to a machine of their own.  A name stands for all names below it too.  No such list is
ever complete: it is a belt beside the grant.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Final

# Each keeps what is sent to it for whoever opened it.  Webhook testers, by their own pages; the servers of Burp
# Collaborator (PortSwigger, "Burp Collaborator server") and of interactsh (projectdiscovery/interactsh, README);
# out-of-band loggers, as the OWASP Web Security Testing Guide and the lists of blind attacks name them.
_REQUEST_BINS: Final = """
webhook.site webhook.cool webhook-test.com webhookapp.com webhookbin.net typedwebhook.tools webhookrelay.com
requestbin.com requestbin.net requestbin.io requestb.in requestbin.fullcontact.com requestbin.whapi.cloud
requestcatcher.com requestinspector.com requestrepo.com hookbin.com postb.in ptsv2.com ptsv3.com putsreq.com
pipedream.net beeceptor.com mockbin.org mockbin.io mocky.io httpdump.io httpdump.app hkdk.events smee.io play.svix.com
pingb.in snifferhttp.com httpreq.com
oast.pro oast.live oast.site oast.online oast.fun oast.me interact.sh interactsh.com
burpcollaborator.net oastify.com
dnslog.cn dnslog.link dnslog.pw dnslog.store dnslog.org ceye.io eyes.sh dnsbin.zhack.ca dig.pm callback.red
bxss.me bxss.in xss.ht xss.report js.rip ezxss.com xsshunter.com canarytokens.com canarytokens.org canarytokens.net
"""
# Where anybody leaves a text or a file for anybody: MITRE ATT&CK T1567.003 (exfiltration to text storage sites) and
# what the sites say of themselves.
_PASTE_SITES: Final = """
pastebin.com paste.ee dpaste.com dpaste.org hastebin.com pastebin.pl
paste.rs paste.sh paste.centos.org paste.debian.net paste.mozilla.org paste.ubuntu.com paste.opensuse.org
pastes.io pastie.org ghostbin.com ghostbin.co rentry.co rentry.org controlc.com justpaste.it privatebin.net
termbin.com ix.io sprunge.us clbin.com cl1p.net bpa.st ptpb.pw p.ip.fi fars.ee
ideone.com codepad.org jsonblob.com jsonbin.io npoint.io textbin.net textuploader.com snippet.host
write.as telegra.ph graph.org
transfer.sh file.io 0x0.st temp.sh bashupload.com oshi.at x0.at envs.sh ttm.sh catbox.moe litterbox.catbox.moe
uguu.se gofile.io anonfiles.com anonfile.com anontransfer.com bayfiles.com tmpfiles.org tempfile.io filebin.net
pixeldrain.com keep.sh free.keep.sh sendspace.com send-anywhere.com filetransfer.io fileditch.com krakenfiles.com
ufile.io uploadfiles.io easyupload.io workupload.com wormhole.app transfernow.net
"""
# Names that lead to a machine behind somebody's router.  ATT&CK T1572 (protocol tunneling) and T1090; each provider's
# documentation names them.  Onion services (RFC 7686), and gateways to them.
_TUNNELS: Final = """
ngrok.io ngrok.app ngrok.dev ngrok-free.app ngrok-free.dev ngrok.pizza ngrok.pro
trycloudflare.com cfargotunnel.com loca.lt localtunnel.me localtunnel.site
serveo.net serveousercontent.com localhost.run lhr.life lhr.rocks lhrtunnel.link
pagekite.me bore.pub telebit.io telebit.cloud devtunnels.ms tunnelmole.net tunnelto.dev tunnl.gg
pinggy.io pinggy.link pinggy.online pinggy-free.link zrok.io share.zrok.io playit.gg ply.gg joinmc.link
packetriot.net pktriot.net localxpose.io loclx.io expose.dev sharedwithexpose.com
portmap.io portmap.host openport.io remote.it remoteit.net
onion onion.ly onion.ws onion.pet onion.to onion.cab tor2web.org tor2web.io
"""
# Names that answer with another address each time they are asked, to get past a check of the name.
_REBINDING: Final = """
rbndr.us 1u.ms rebind.network rebinder.net lock.cmpxchg8b.com
"""


def _names(text: str, code: str) -> dict[str, str]:
    return dict.fromkeys(text.split(), code)


# Each name, without what stands before it, and the rule that it breaks.
NAMES: Final[Mapping[str, str]] = MappingProxyType(
    _names(_REQUEST_BINS, "request_bin")
    | _names(_PASTE_SITES, "paste_site")
    | _names(_TUNNELS, "tunnel")
    | _names(_REBINDING, "disguised_url")
)

# Paths under which a chat posts what is sent to them, for whoever holds the address.  From each vendor's documentation
# of incoming webhooks and bots.
CHAT_HOOKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "discord.com": "/api/webhooks/",
        "discordapp.com": "/api/webhooks/",
        "hooks.slack.com": "/",
        "api.telegram.org": "/bot",
        "webhook.office.com": "/",
        "chat.googleapis.com": "/v1/spaces/",
        "maker.ifttt.com": "/trigger/",
        "hooks.zapier.com": "/hooks/",
        "ntfy.sh": "/",
        "api.pushover.net": "/1/messages",
        "qyapi.weixin.qq.com": "/cgi-bin/webhook/",
        "oapi.dingtalk.com": "/robot/send",
        "open.feishu.cn": "/open-apis/bot/",
        "open.larksuite.com": "/open-apis/bot/",
    }
)

# Where a cloud tells a machine its own credentials, by each cloud's documentation of instance metadata.
METADATA_NAMES: Final = frozenset(
    {
        "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal", "metadata.ec2.internal",
        "metadata.tencentyun.com", "metadata.azure.internal", "metadata.packet.net", "metadata.platformequinix.com",
        "api.metadata.cloud.ibm.com", "rancher-metadata",
    }
)  # fmt: skip
METADATA_V4: Final = frozenset(
    map(
        IPv4Address,
        (
            "169.254.169.254",  # AWS, Azure, Google, OpenStack, DigitalOcean, Oracle, Hetzner, Vultr
            "169.254.170.2",  # AWS: credentials of an ECS task
            "169.254.170.23",  # AWS: credentials of an EKS pod
            "169.254.0.23",  # Tencent
            "169.254.42.42",  # Scaleway
            "168.63.129.16",  # Azure: the wire server
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle, classic
        ),
    )
)
METADATA_V6: Final = frozenset(
    map(
        IPv6Address,
        (
            "fd00:ec2::254",  # AWS
            "fd00:ec2::23",  # AWS: credentials of an EKS pod
            "fd20:ce::254",  # Google
            "fd00:42::42",  # Scaleway
            "fe80::a9fe:a9fe",  # OpenStack
            "fd00:c1::a9fe:a9fe",  # Oracle
        ),
    )
)
# RFC 6052, 2.1 and RFC 8215: addresses of IPv6 that hold one of IPv4 in their last 32 bits; and the forms of RFC 4291,
# 2.5.5.1 and RFC 2765.
EMBEDDING: Final = tuple(
    map(IPv6Network, ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"))
)
# Names of any address: `169.254.169.254.nip.io`, `a9fea9fe.nip.io`, `169-254-169-254.sslip.io`.
ADDRESS_NAMES: Final = (".nip.io", ".sslip.io", ".xip.io", ".traefik.me")
