"""What commands do, as tables: from their manual pages (GNU coreutils 9, util-linux 2, procps 4, and each one's own).

A line is `names ; what it always does ; options ; operands`.  Options are as in `shell_options`.  Operands: `all` means
that each is a file that is written, `last` that the last one is, `some` that with none nothing is done at all.
What is in no table is not known, and so destructive.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from callgate.screening.shell_options import Options, effects_of, options_of


@dataclass(frozen=True, slots=True)
class Fact:
    """`effects` happen whatever the arguments; `operands` says what becomes of those."""

    effects: tuple[str, ...]
    options: Options
    operands: str = ""


def fact_of(line: str, shared: str = "") -> Fact:
    """`what it always does ; options ; operands`, with options that are `shared`; ValueError for what there is not."""
    effects, options, operands = ([part.strip() for part in line.split(";")] + ["", "", ""])[:3]
    return Fact(effects_of(effects) if effects else (), options_of(f"{shared} {options}".strip()), operands)


def _table(lines: str) -> dict[str, Fact]:
    found: dict[str, Fact] = {}
    for line in lines.strip().splitlines():
        names, _, rest = line.partition(";")
        found.update(dict.fromkeys(names.split(), fact_of(rest)))
    return found


# Nothing but reading, whatever they are given.
_READS: Final = """
pwd ls dir vdir cat tac nl head tail wc cut paste tr rev fold fmt expand unexpand column colrm col comm cmp diff diff3 join
look seq yes true false basename dirname realpath readlink stat du df uptime uname arch nproc whoami id groups logname
who w last lastb users tty cal ncal locale printenv which whereis type whatis apropos info help sleep usleep
times getconf lscpu lsblk lspci lsusb lsmod lsattr lsof lsns lsipc lslocks lsmem lslogins lsinitramfs lsb_release
ps pgrep pstree htop btop atop vmstat iostat mpstat free slabtop netstat ss pidof pwdx pmap nstat
md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum cksum sum crc32 shasum xxhsum base64 base32 basenc od hexdump hd
readelf ldd zcat bzcat xzcat zstdcat lzcat lz4cat gzcat zgrep zegrep zfgrep bzgrep xzgrep zdiff zcmp
zless zmore bzless xzless bzcmp bzdiff bzegrep bzfgrep bzmore lzgrep lzegrep lzless lzdiff lzcmp xzdiff xzcmp
xzegrep xzfgrep xzmore zstdgrep zstdless addr2line c++filt findfs filefrag fincore isosize ischroot infocmp pkg-config pkgconf gpgv lsfd
lsirq zdump ul gprof javap mcookie json_pp ts stern apt-config readprofile utmpdump jq egrep fgrep rgrep grep expr factor numfmt tsort pr ptx pinky getopt getfacl namei findmnt
mountpoint blkid tput hostid envsubst ipcs aa-status sestatus getenforce getcap getsebool lpstat lpq mailq atq
exa eza lsd ncdu sensors acpi lshw hwinfo inxi dmidecode lsscsi nvidia-smi tldr cloc tokei scc wdiff colordiff diffstat
icdiff msgcat pdftotext pdfinfo pdffonts identify mediainfo ffprobe soxi exiv2 fc-list fc-match
return exit break continue shift caller suspend logout ulimit umask dirs
popd bc units figlet cowsay toilet lolcat banner fortune pv uuidgen dircolors pathchk runlevel vcgencmd
hexyl xsv csvcut csvlook csvstat csvgrep csvsort xmlwf cfn-lint shellcheck hadolint yamllint jsonlint
isoinfo zipinfo lsar funzip zipgrep dpkg-query apt-cache apt-file debsums
systemd-detect-virt locate mlocate plocate sync disown clear reset tabs tset xclip xsel pbcopy pbpaste wl-copy wl-paste lvs vgs pvs lvdisplay vgdisplay pvdisplay lvscan
vgscan pvscan dumpe2fs xfs_info systemd-analyze systemd-path systemd-escape systemd-cgls systemd-cgtop
fg bg printenv pg_isready pg_controldata ipcalc sipcalc
"""
_COMMANDS: Final = """
echo : ; ; ;
pidstat ; ; e:=planted_code p: C: G: T: U: ;
rpmquery ; ; eval:=planted_code E:=planted_code pipe:=planted_code D:=planted_code define:=planted_code macros:=planted_code load:=planted_code rcfile:=planted_code qf: queryformat: root: dbpath: ;
sudoedit ; privileged+accounts ; ;
lastlog ; ; C=tracks clear=tracks S=tracks set=tracks u: user: t: time: b: before: R: root: ;
nm objdump size strings ; ; plugin:=planted_code ;
delta ; ; pager:=planted_code config:=planted_code ;
bat batcat ; ; pager:=planted_code P ;
date ; ; s:=kernel set:=kernel d: date: f: file: r: reference: I? iso-8601 R u ; date
sort ; ; o:=write_to output:=write_to compress-program:=planted_code k: S: t: T: key: field-separator: files0-from: temporary-directory: parallel: batch-size: sort check merge reverse unique numeric-sort human-numeric-sort version-sort ;
shuf ; ; o:=write_to output:=write_to i: n: random-source: input-range: head-count: ;
uniq ; ; f: s: w: skip-fields: skip-chars: check-chars: ; second
tree ; ; o:=write_to L: P: I: charset: filelimit: timefmt: fromfile ;
file ; ; C=write compile=write m: magic-file: f: files-from: F: P: e: ;
xxd ; ; c: cols g: groupsize l: len s: seek o: r=write revert=write ; second
rg ; ; pre:=planted_code hostname-bin:=planted_code e: f: g: t: T: A: B: C: m: j: M: r: E: iglob: type: max-count: replace: pre-glob: ;
ag ack ack-grep ; ; pager:=planted_code match: A: B: C: G: m: ;
sdiff ; ; o:=write_to output:=write_to diff-program:=planted_code ;
less more most pg ; ; o:=write_to O:=write_to log-file:=write_to LOG-FILE:=write_to k: lesskey-file:=planted_code P: p: t: T: x: y: j: b: h: z: ; pager
iconv ; ; o:=write_to output:=write_to f: t: from-code: to-code: ;
top ; ; d: n: p: u: U: o: w? E: ;
dmesg ; ; c=tracks read-clear=tracks C=tracks clear=tracks D=kernel console-off=kernel E=kernel n:=kernel console-level:=kernel F: file: f: facility: l: level: s: since: until: ;
journalctl ; ; vacuum-size:=tracks vacuum-time:=tracks vacuum-files:=tracks rotate=tracks flush=tracks sync=write relinquish-var=tracks setup-keys=kernel update-catalog=system_file u: unit: S: since: U: until: n: lines: p: priority: o: output: b? t: identifier: g: grep: D: directory: M: machine: ;
ccze multitail lnav ; unknown_script ; ;
getent ; ; s: service: i ; names
hwclock ; ; w=kernel systohc=kernel s=kernel hctosys=kernel set=kernel a=kernel adjust=kernel f: date: ;
stty ; ; F: file: ;
fuser ; ; k=stop kill=stop n: m: M: namespace: ;
logger ; write ; n:=network server:=network P: port: t: tag: p: priority: f: file: ;
hostname dnsdomainname domainname nisdomainname ; ; F:=kernel file:=kernel b=kernel f s i I d a A y ; setting
ethtool ; ; K=firewall s=firewall G=firewall C=firewall A=firewall E=firewall p=firewall r=firewall f=firewall reset=firewall ;
touch ; write ; d: r: t: date: reference: time: ; made
mkdir ; write ; m: mode: p ; made
mkfifo ; write ; m: mode: ; made
mknod ; write+privileged ; m: mode: ; all
mktemp ; write ; p? tmpdir? u t suffix: ;
tee ; ; a append i p output-error? ; all
sponge ; ; a ; all
cp ; write ; t:=write_to target-directory:=write_to S: suffix: a r R p f n u v ; last
mv ; write ; t:=write_to target-directory:=write_to S: suffix: f n u v ; moved
ln link ; write ; t:=write_to target-directory:=write_to S: suffix: s f n r v b ; last
ginstall ; write ; m: o: g: t: S: ; last
csplit ; write ; f: b: n: prefix: suffix-format: digits: ;
split ; write ; a: b: C: l: n: t: d x filter:=planted_code additional-suffix: numeric-suffixes? hex-suffixes? lines: bytes: number: suffix-length: ;
patch ; write ; i: input: p: strip: d: directory: o:=write_to output:=write_to r:=write_to reject-file: z: B: D: F: V: Y: dry-run ; all
dos2unix unix2dos mac2unix recode ; write ; n k o c: ; all
msgfmt gettext xgettext ; ; o:=write_to ;
gzip bzip2 xz lzma zstd lz4 lzop brotli pigz pbzip2 compress ; ; c k l t v ; packs
gunzip bunzip2 unxz unlzma unzstd unlz4 uncompress unpigz lunzip ; ; c k l t v ; packs
zip ; write ; TT:=planted_code unzip-command:=planted_code m=delete move=delete d=delete delete=delete FS=delete filesync=delete b: x: i: P: n: t: tt: s: O: ; first
unzip ; ; d: x: P: l t p Z v z ; unpacks
zipsplit zipnote zipcloak ; write ; ;
cpio ; ; rsh-command:=planted_code to-stdout t list i=write extract=write o create p=write pass-through=write F: O:=write_to I: H: E: D: file: ;
ar ; ; ; archive
7z 7za 7zr 7zz rar unrar ; ; o? p? w? x? t? m? si? so sdel=delete sfx? y r ; packed
chattr setfacl restorecon chcon semanage setsebool setenforce setcap setfattr ; permissions ; ;
chown chgrp ; write+permissions ; ;
truncate fallocate ; write+overwrite ; s: size: r: reference: l: length: o: offset: ; all
rm rmdir unlink shred wipe srm scrub trash trash-put trash-empty rimraf del erase secure-delete sfill bleachbit ipcrm atrm dropdb dropuser vgremove lvremove pvremove tmpreaper tmpwatch fdupes jdupes rdfind ; delete ; ;
mkfs mke2fs mkswap wipefs fdisk cfdisk sfdisk gdisk sgdisk cgdisk parted partprobe partx blkdiscard badblocks fsck e2fsck tune2fs resize2fs debugfs fstrim swapoff umount eject quotaoff setquota xfs_growfs xfs_repair nvme sg_format dmsetup growpart kpartx lvreduce lvresize lvextend lvcreate vgcreate vgextend vgreduce pvcreate pvmove lvchange vgchange lvrename vgrename lvconvert mkntfs mkdosfs ntfsfix fsfreeze e2label xfs_admin swaplabel raw flashrom dd_rescue ddrescue partclone partimage fsarchiver ; device ; ;
lvs vgs pvs lvdisplay vgdisplay pvdisplay lvscan vgscan pvscan dumpe2fs xfs_info  ; ; ;
killall5 pkill skill xkill shutdown reboot halt poweroff telinit init slay tkill ; stop ; ;
useradd adduser usermod userdel deluser groupadd addgroup groupdel delgroup groupmod gpasswd chpasswd chgpasswd chsh chfn vipw vigr visudo newusers pwconv pwunconv grpconv grpunconv dpkg-statoverride authconfig authselect pam-auth-update realm adcli samba-tool smbpasswd kadmin kadmin.local ldapadd ldapmodify ldapdelete ldappasswd createuser ; accounts ; ;
rmmod insmod modprobe kexec depmod kmod dkms kpatch ; privileged+kernel ; ;
setkeycodes loadkeys setfont kbdrate setterm zramctl wdctl chcpu chmem rtcwake ; kernel ; ;
update-grub update-grub2 grub-install grub-mkconfig grub2-mkconfig efibootmgr ldconfig update-alternatives alternatives update-initramfs mkinitcpio dracut dpkg-reconfigure update-ca-certificates update-ca-trust update-rc.d chkconfig insserv locale-gen installkernel etckeeper debconf-set-selections mkhomedir_helper tzselect ; system_file ; ;
aa-disable aa-teardown aa-complain aa-remove-unknown apparmor_parser auditctl augenrules ; firewall ; ;
ip6tables-restore iptables-restore ipset ebtables arptables brctl tc ovs-vsctl wg-quick ifup ifdown ifenslave dhclient dhcpcd wpa_cli wpa_supplicant rfkill iw iwconfig ; firewall ; ;
at batch ; schedule ; ;
ping ping6 arping fping hping3 traceroute traceroute6 tracepath mtr dig host nslookup whois drill kdig delv finger ssh-keyscan telnet tftp rwho ruptime showmount rpcinfo nbtscan nmblookup dnsrecon whatweb avahi-browse avahi-resolve lwp-request snmpget snmpwalk ntpq wscat grpcurl ghz wrk hey ab iperf iperf3 speedtest speedtest-cli fast mosquitto_sub mosquitto_pub kcat kafkacat nsq_tail stomp amqp-publish amqp-get ; network ; ;
mail mailx Mail s-nail nail sendmail exim exim4 msmtp ssmtp swaks sendemail mpack ; network ; E=planted_code exec:=planted_code a: s: c: b: r: S:=planted_code ;
mutt neomutt ; network ; e:=planted_code F:=planted_code a: s: c: b: i: H: ;
scp ; network ; S:=planted_code D:=planted_code b:=unknown_script F:=planted_code i: P: c: l: J: o: ; remote
ssh-copy-id ; network+remote_change ; ;
ncat nc netcat nc.traditional nc.openbsd cryptcat powercat rcat pwncat ; network ; e:=disclosure exec:=disclosure c:=disclosure sh-exec:=disclosure lua-exec:=disclosure p: s: w: i: q: X: x: o:=write_to output:=write_to hex-dump:=write_to ;
nmap zenmap masscan zmap rustscan ; network ; script:=planted_code script-args: datadir:=planted_code servicedb: interactive=planted_code sC=planted_code A=planted_code oN:=write_to oX:=write_to oG:=write_to oA:=write_to p: ;
tcpdump dumpcap tshark ngrep ; privileged ; z:=planted_code w:=write_to X:=planted_code i: c: s: r: G: W: ;
wall write mesg notify-send ; write ; ;
rpcclient ; network ; c:=remote_change command:=remote_change U: I: p: W: ;
lynx w3m links elinks browsh firefox chromium google-chrome mosh rsh rlogin rexec sshfs websocat ; network+unknown_script ; ;
ldapsearch ldapwhoami ; network ; ;
ftp lftp ncftp tnftp ; network+unknown_script ; ;
http https httpie xh curlie ; network ; o:=write_to output:=write_to download=write d=write session:=write_to ; httpie
aria2c axel ; network+write ; on-download-complete:=planted_code on-download-start:=planted_code on-download-stop:=planted_code on-bt-download-complete:=planted_code on-download-error:=planted_code on-download-pause:=planted_code conf-path:=unknown_script d:=write_to o:=write_to dir:=write_to out:=write_to ;
yt-dlp youtube-dl ; network+write ; exec:=planted_code exec-before-download:=planted_code external-downloader:=planted_code downloader:=planted_code config-location:=unknown_script config-locations:=unknown_script o: output: ;
pg_dump pg_dumpall mysqldump mariadb-dump mongodump mongoexport ; ; f:=write_to file:=write_to r:=write_to result-file:=write_to o:=write_to out:=write_to h:=network host:=network p: port: U: username: d: dbname: u: n: t: T:=write_to tab:=write_to ;
createdb ; write ; h:=network host:=network ;
initdb pg_ctl pg_ctlcluster pg_resetwal pg_rewind pg_basebackup reindexdb vacuumdb clusterdb mysqladmin mongorestore mongoimport mysqlimport pg_restore pg_upgrade ; remote_change ; ;
ssh-keygen ; write ; D:=planted_code w:=planted_code R:=delete f:=write_to t: b: N: C: P: ; keygen
ssh-add ; ; D=delete d=delete s:=planted_code e:=delete t: l L ;
ffmpeg convert magick mogrify composite montage sox gm cwebp optipng jpegoptim pngquant ; write ; ; last
pandoc ; ; o:=write_to output:=write_to filter:=planted_code F:=planted_code lua-filter:=planted_code L:=planted_code pdf-engine:=planted_code t: f: to: from: w: defaults:=planted_code d:=planted_code extract-media:=write_to ;
xmllint ; ; o:=write_to output:=write_to shell=planted_code xpath: schema: ;
xmlstarlet xml ; ; L=write inplace=write ;
xsltproc ; ; o:=write_to output:=write_to ;
yq ; ; i=write inplace=write in-place=write s:=write split-exp:=write y Y P o: p: I: ;
exiftool ; ; if:=interpreter_code p:=interpreter_code config:=interpreter_code overwrite_original=write all=write o:=write_to tagsfromfile:=write w:=write ; exiftool
groff troff nroff ; ; U=planted_code R ;
man ; ; P:=planted_code pager:=planted_code H?=planted_code html?=planted_code C:=planted_code config-file:=planted_code k f M: S: s: L: m: w a ;
sysctl ; ; w=kernel write=kernel p?=kernel load?=kernel system=kernel a A n e N r: pattern: ; setting_equals
rsync-ssl ; network+planted_code ; ;
sqlmap hydra john hashcat medusa msfconsole msfvenom responder crackmapexec impacket-psexec evil-winrm chisel ligolo ngrok cloudflared bore frpc frps localtunnel lt gsocket gs-netcat dnscat dnscat2 iodine ; network+disclosure ; ;
git-shell git-upload-pack git-receive-pack ; unknown_script ; ;
history ; ; c=tracks d:=tracks w=tracks a=write r=write n=write s p ;
fc ; unresolved_code ; ;
hash ; ; p:=environment r l d t ;
shopt ; ; s u q p o ;
enable ; planted_code ; ;
bind complete compopt ; planted_code ; ;
xdotool ydotool wtype ; unresolved_code ; ;
tmutil diskutil launchctl dscl defaults nvram csrutil spctl softwareupdate systemsetup scutil pmset networksetup security asr ; remote_change ; ;
logrotate savelog ; tracks ; ;
updatedb mandb makewhatis ; write ; ;
gcc g++ cc c++ clang clang++ ld as gfortran ; write ; wrapper:=planted_code fplugin:=planted_code B:=planted_code specs:=planted_code o:=write_to I: L: l: D: U: x: include: ;
javac rustc tsc protoc thrift flatc ocamlc ; write ; o:=write_to d:=write_to plugin:=planted_code C:=planted_code J? ;
firewall-cmd ; ; permanent zone: state get-default-zone get-active-zones get-zones get-services get-icmptypes list-all list-all-zones list-services list-ports list-interfaces list-rich-rules list-sources list-forward-ports version help info-zone: info-service: query-service: query-port: query-masquerade ; strict
mdadm ; ; detail D examine E query Q detail-platform scan s verbose v brief ; strict
dpkg ; ; l list s status L listfiles S search p print-avail get-selections verify V audit C version I info c contents print-architecture compare-versions yet-to-unpack admindir: root: no-pager help x=write extract=write ; strict
rpm ; ; q query V verify a all i info l list f file p package c configfiles d docfiles R requires provides changes changelog scripts qf: queryformat: root: dbpath: whatprovides: whatrequires: whatowns: K checksig last version help ; queries
pacman ; ; Q query q i info l list o owns e t d n m k s search S? ss F files version help Ss Si Sl ; queries
gpg gpg2 ; ; list-keys k K list-secret-keys list-sigs check-sigs fingerprint verify d decrypt version with-colons print-md: list-packets keyid-format: export a armor output:=write_to o:=write_to e=write encrypt=write s=write sign=write b=write detach-sign=write clearsign=write c=write symmetric=write r: recipient: u: local-user: homedir: batch yes status-fd: passphrase: passphrase-file: passphrase-fd: pinentry-mode: import=write gen-key=write full-generate-key=write quick-generate-key=write keyserver:=network recv-keys=network send-keys=network search-keys=network refresh-keys=network locate-keys=network trust-model: q quiet v verbose no-tty t textmode z: help ; strict
hdparm ; ; i I g C version ; strict
smartctl ; ; i a A H c l: d: x n: info all xall health capabilities attributes scan json? j? ; strict
blockdev ; ; getsize64 getsz getss getbsz getro getra report getpbsz getiomin getioopt v q ; strict
swapon ; ; s show? summary noheadings raw bytes version ; strict
"""


FACTS: Final[Mapping[str, Fact]] = MappingProxyType({**dict.fromkeys(_READS.split(), fact_of("")), **_table(_COMMANDS)})
