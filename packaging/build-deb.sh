#!/usr/bin/env bash
# Builds a Debian package from a binary:
#
#   packaging/build-deb.sh BINARY OUTPUT_DIR
#
# It prints the package's path. The maintainer is DEBFULLNAME <DEBEMAIL>; SOURCE_DATE_EPOCH is the time of the files,
# else that of the last commit.
set -euo pipefail
export LC_ALL=C.UTF-8
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")

if [ $# -ne 2 ]; then
    echo "usage: build-deb.sh BINARY OUTPUT_DIR" >&2
    exit 2
fi
for need in dpkg-deb:dpkg dpkg-shlibdeps:dpkg-dev strip:binutils python3:python3; do
    if ! command -v "${need%%:*}" >/dev/null; then
        echo "build-deb: ${need%%:*} is missing; on Debian it is in the package ${need#*:}" >&2
        exit 1
    fi
done
binary=$(realpath "$1")
mkdir -p "$2"
output=$(realpath "$2")

said=$("$binary" --version)
upstream=${said##* }
# 1.0-rc1 comes before 1.0, and the hyphen divides upstream's version from Debian's.
version=${upstream//-/\~}-1
architecture=$(dpkg --print-architecture)
maintainer="${DEBFULLNAME:-Sidesocket maintainers} <${DEBEMAIL:-sidesocket@example.org}>"
: "${SOURCE_DATE_EPOCH:=$(git -C "$top" log -1 --format=%ct 2>/dev/null || date +%s)}"
export SOURCE_DATE_EPOCH

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root doc=$work/root/usr/share/doc/sidesocket
umask 022

install -D -m 755 "$binary" "$root/usr/bin/sidesocket"
strip --remove-section=.comment --remove-section=.note "$root/usr/bin/sidesocket"

# The example unit, without the part of its comment that the package has done.
install -d "$root/lib/systemd/system"
sed -e '1,/^$/d' \
    -e 's,^ExecStart=/usr/local/bin/,ExecStart=/usr/bin/,' \
    -e '/^Description=/a Documentation=man:sidesocket(1)' \
    "$top/examples/systemd/sidesocket.service" >"$root/lib/systemd/system/sidesocket.service"
grep -q '^ExecStart=/usr/bin/sidesocket$' "$root/lib/systemd/system/sidesocket.service"

install -d -m 755 "$root/etc/sidesocket"
install -m 600 "$here/sidesocket.env" "$root/etc/sidesocket/sidesocket.env"

install -d "$root/usr/share/man/man1" "$doc"
"$here/man-page.py" "$binary" | gzip -9n >"$root/usr/share/man/man1/sidesocket.1.gz"

install -D -m 644 "$here/debian/lintian-overrides" "$root/usr/share/lintian/overrides/sidesocket"
install -m 644 "$here/debian/copyright" "$doc/copyright"
gzip -9n <"$top/CHANGELOG.md" >"$doc/changelog.gz"
gzip -9n >"$doc/changelog.Debian.gz" <<EOF
sidesocket ($version) unstable; urgency=medium

  * Sidesocket $upstream; changelog.gz says what is new.

 -- $maintainer  $(date -uR -d "@$SOURCE_DATE_EPOCH")
EOF
# Those of the libraries that are linked in.
find "$top/.build/checkouts" -mindepth 2 -maxdepth 2 \( -iname 'license*' -o -iname 'notice*' \) 2>/dev/null |
    sort | while read -r file; do
    printf '=== %s\n\n' "${file#"$top/.build/checkouts/"}"
    cat "$file"
    printf '\n'
done | gzip -9n >"$doc/third-party-notices.gz"

# dpkg-shlibdeps wants a source package around it.
mkdir "$work/debian" "$root/DEBIAN"
printf 'Source: sidesocket\n\nPackage: sidesocket\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O --ignore-missing-info root/usr/bin/sidesocket 2>/dev/null)
depends=${depends#shlibs:Depends=}
if ldd "$root/usr/bin/sidesocket" | grep -q libswiftCore; then
    echo "build-deb: $1 needs Swift's libraries, which no package has: fit for this machine only" >&2
fi

cat >"$root/DEBIAN/control" <<EOF
Package: sidesocket
Version: $version
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -k --apparent-size -s --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends, init-system-helpers (>= 1.54~)
Recommends: ca-certificates
Section: web
Priority: optional
Description: WebSockets for an app that speaks plain HTTP
 Sidesocket sits in front of an HTTP app and gives it WebSockets and
 Server-Sent Events: it turns each message into an HTTP request, and each
 answer of the app into a message. All other requests are passed through.
EOF
echo /etc/sidesocket/sidesocket.env >"$root/DEBIAN/conffiles"
install -m 755 -t "$root/DEBIAN" "$here"/debian/{postinst,prerm,postrm}
(cd "$root" && find usr lib -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"

package=$output/sidesocket_${version}_$architecture.deb
dpkg-deb --build --root-owner-group "$root" "$package" >/dev/null
echo "$package"
