"""Where a URL that a user gave must never lead, in every spelling known.

The groups are those of the promises: loopback in its forms (A), IPv6 (B), special
ranges (C), metadata services (D), texts that parsers read differently (E), other
schemes (F).
"""

# ruff: noqa: RUF001 - characters that pass for others are what is tried here

from ipaddress import ip_network

LOOPBACK = [
    "127.0.0.1", "127.0.0.2", "127.127.127.127", "127.255.255.254", "127.1", "127.0.1",
    "0", "0.0.0.0", "00", "0x0", "2130706433", "0x7f000001", "0X7F000001",
    "0x7f.0.0.1", "0x7f.1", "0177.0.0.1", "0177.1", "017700000001", "127.0.0.01",
    "127.0.0.1.", "127.0.0.1..", "localhost", "localhost.", "LOCALHOST", "LocalHost",
    "foo.localhost", "foo.localhost.", "ip6-localhost", "ip6-loopback",
    "localhost.localdomain", "①②⑦.⓪.⓪.①", "127。0。0。1", "127．0．0．1", "127｡0｡0｡1",
    "１２７.0.0.1", "127.0.0.1%00", "%31%32%37.0.0.1", "127.0.0.1%2f", "0o177.0.0.1",
    "0b1111111.0.0.1", "๑๒๗.0.0.1", "١٢٧.0.0.1", "127.0.0.1.0", "127.0.0", "0.0", "256",
    "4294967296", "18446744075840258049", "1.2.3.4.5", "1.2.3.256", "0x", "127.0x1",
    "127.0.0.0x1", "ⓛocalhost", "ʟocalhost.localhost",
]  # fmt: skip
IPV6 = [
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[0000::1]", "[::0001]", "[::ffff:127.0.0.1]",
    "[::FFFF:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:1]", "[::127.0.0.1]",
    "[::7f00:1]", "[::ffff:0:127.0.0.1]", "[::ffff:0:7f00:1]", "[64:ff9b::7f00:1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]", "[64:ff9b:1:7f00:0:100::]",
    "[2002:7f00:1::]", "[2002:7f00:1::1]", "[2002:808:808::1]",
    "[2001:0:7f00:1::80ff:fffe]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[2001::1]", "[fe80::1]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1%25lo]",
    "[::1%lo]", "[2606:4700::1111%25eth0]", "[2606:4700::1111%eth0]",
    "[fc00::1]", "[fd00::1]", "[fdff:ffff::1]", "[fec0::1]", "[fd00:ec2::254]",
    "[fd20:ce::254]", "[ff02::1]", "[ff0e::1]", "[100::1]", "[5f00::1]",
    "[2001:db8::1]", "[3fff::1]", "[3ffe::1]", "[2001:2::1]", "[2001:10::1]",
    "[2606:4700::200:5efe:7f00:1]", "[2606:4700::5efe:a00:1]", "[4000::1]",
    "[::ffff:10.0.0.1]", "[::ffff:192.168.1.1]", "[64:ff9b::10.0.0.1]",
    "[::ffff:169.254.169.254]", "[::ffff:224.0.0.1]", "[::ffff:0.0.0.0]",
    "[v1.fe80::a]", "[127.0.0.1]", "[localhost]", "[]", "[::1", "::1", "::1]",
    "[::1]]", "[[::1]]", "[::1][::1]", "[::ffff:127.1]", "[::ffff:0x7f.0.0.1]",
]  # fmt: skip
SPECIAL_BLOCKS = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "2001:db8::/32", "2001::/23",
    "2002::/16", "64:ff9b:1::/48", "100::/64", "3fff::/20", "::/96", "::ffff:0:0:0/96",
]  # fmt: skip
SPECIAL = [
    str(network[index])
    for network in map(ip_network, SPECIAL_BLOCKS)
    for index in (0, 1, network.num_addresses // 2, network.num_addresses - 1)
]
"""First, second, an inner and the last address of each block."""
BESIDE = [
    "1.0.0.0", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255",
    "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.88.98.255",
    "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255",
    "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
    "168.63.129.15", "168.63.129.17", "2606:4700::1111", "2000::1", "2a00:1450::1",
    "2001:200::1", "2001:db7:ffff::1", "2001:db9::1", "2003::1", "3ffd::1", "3fef::1",
    "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
]  # fmt: skip
"""Public addresses, many of them just outside a block."""
METADATA = [
    "169.254.169.254", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0xA9FEA9FE",
    "0251.0376.0251.0376", "0xa9.0xfe.0xa9.0xfe", "169.254.43518", "169.16689662",
    "①⑥⑨.②⑤④.①⑥⑨.②⑤④", "[::ffff:a9fe:a9fe]", "[::ffff:169.254.169.254]",
    "[::a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]", "[::ffff:0:a9fe:a9fe]", "169.254.170.2", "169.254.170.23",
    "100.100.100.200", "192.0.0.192", "168.63.129.16", "[::ffff:168.63.129.16]",
    "[64:ff9b::168.63.129.16]", "[fd00:ec2::254]", "[fd20:ce::254]",
    "metadata.google.internal", "METADATA.google.internal.", "metadata", "metadata.",
    "metadata.goog", "metadata.tencentyun.com", "metadata.azure.com",
    "metadata.azure.internal", "instance-data", "instance-data.ec2.internal",
    "kubernetes.default.svc", "kubernetes",
    "kubernetes.default.svc.cluster.local", "host.docker.internal",
    "gateway.docker.internal", "redis", "postgres", "db", "router.lan", "nas.local",
    "wiki.corp", "printer.home", "1.0.0.127.in-addr.arpa", "a.home.arpa", "x.onion",
]  # fmt: skip
CONFUSING = [
    "http://a@127.0.0.1/", "http://good.com@127.0.0.1/", "http://a:b@good.com/",
    "http://@good.com/", "http://:@good.com/", "http://good.com:80@127.0.0.1/",
    "http://127.0.0.1:80\\@good.com/", "http://good.com\\@127.0.0.1/",
    "http://good.com\\.127.0.0.1/", "http:\\\\127.0.0.1/", "http:/\\127.0.0.1/",
    "http://1.1.1.1 &@2.2.2.2# @3.3.3.3/", "http://good.com /", "http:// good.com/",
    " http://good.com/", "http://good.com/ ", "http:127.0.0.1/", "http:/127.0.0.1/",
    "http:///127.0.0.1/", "http:////127.0.0.1/", "//127.0.0.1/", "///127.0.0.1",
    "127.0.0.1", "good.com", "good.com:80", "http://good.com%2f@127.0.0.1",
    "http://good%2ecom/", "http://[::1]good.com/", "http://good.com[::1]/",
    "http://ht\ttp/", "ht\ttp://good.com/", "http://go\tod.com/", "http://go\nod.com/",
    "http://good.com\r\n/", "http://good.com/\r\nX: y", "http://good.com/\n",
    "\nhttp://good.com/", "http://good.com/\0", "http://good\0.com/",
    "http://good.com\0.evil.com/", "http://a@b@good.com/", "http://good.com:0/",
    "http://good.com:65536/", "http://good.com:99999/", "http://good.com:80:81/",
    "http://good.com:-80/", "http://good.com:+80/", "http://good.com:8 0/",
    "http://good.com:0x50/", "http://good.com:http/", "http://good.com:/",
    "http://good.com:000080/", "http://good.com:８０/", "http://", "http:", "http",
    "", "/", "?", "#", "://good.com/", "http://?", "http://#", "http://:80/",
    "http://./", "http://../", "http://good..com/", "http://.good.com/",
    "http://-good.com/", "http://good-.com/", "http://good.com-/", "http://go od.com/",
    "http://good.com,evil.com/", "http://good.com;evil.com/", "http://good.com&evil/",
    "http://$(id).good.com/", "http://`id`.good.com/", "http://{a}.good.com/",
    "http://*.good.com/", "http://good.com'/", 'http://good.com"/', "http://<good>/",
    "http://good.com|evil/", "http://good.com^/", "http://good.com!/",
    "http://" + "a" * 10_000 + "/", "http://" + "a." * 260 + "com/",
    "http://" + "a" * 64 + ".com/", "http://" + "ä" * 10_000 + ".com/",
    "http://" + "a." * 126 + "com/", "http://good.com/" + "a" * 10_000,
    "http://good.com\u2028/", "http://good\u00a0.com/", "http://a\u2100b.com/",
    "http://good.com\uff0f127.0.0.1/", "http://good.com\uff20127.0.0.1/",
    "http://127.0.0.1\uff03@good.com/", "http://good.com\uff1a80@127.0.0.1/",
    "http://xn--/", "http://xn--.com/", "http://\ud800.com/", "http://\u202egood.com/",
]  # fmt: skip
"""Texts of which two parsers have two opinions; all are refused as they stand."""
HARMLESS = {
    "http://good.com": "http://good.com/",
    "http://good.com#@127.0.0.1/": "http://good.com/",
    "http://good.com?@127.0.0.1/": "http://good.com/?@127.0.0.1/",
    "http://good.com/@127.0.0.1/": "http://good.com/@127.0.0.1/",
    "http://good.com./a": "http://good.com/a",
    "HTTP://GOOD.com:80/A?b=C#d": "http://good.com/A?b=C",
    "https://good.com:443/": "https://good.com/",
    "http://good.com:443/": "http://good.com:443/",
    "https://bücher.de/ä?ö=ü": "https://xn--bcher-kva.de/%C3%A4?%C3%B6=%C3%BC",
    "http://ｇｏｏｄ.com/": "http://good.com/",
    "http://good.com/%2e%2e/%00?a=%0d%0a": "http://good.com/%2e%2e/%00?a=%0d%0a",
    "http://good.com/../../etc/passwd": "http://good.com/../../etc/passwd",
    "http://8.8.8.8/": "http://8.8.8.8/",
    "http://[2606:4700:0:0::1111]/": "http://[2606:4700::1111]/",
    "http://a_b.good.com/": "http://a_b.good.com/",
}
"""Texts that look bad and lead, for everyone here, to a public host."""
SCHEMES = [
    "file", "FILE", "ftp", "ftps", "sftp", "gopher", "dict", "ldap", "ldaps", "tftp",
    "jar", "javascript", "JaVaScRiPt", "data", "blob", "about", "mailto", "ssh", "nfs",
    "netdoc", "phar", "php", "expect", "glob", "zlib", "smb", "unix", "http+unix",
    "ws", "wss", "view-source", "feed", "httpx", "https+x", "hTtP ", "s3", "gs", "git",
]  # fmt: skip


def urls_to(host: str) -> list[str]:
    """Give URLs of a host, in both schemes and with a port."""
    return [f"http://{host}/", f"https://{host}/a?b", f"http://{host}:80/"]
