#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

# Run in the tree of the nested hosts, by sh: makes the guests' initramfs out
# of files of the tree, in $1. A guest in a guest is slow, so it has no
# systemd, no udev and of Python only what the agent needs.
set -eu
target=$1
kernel=$(ls /lib/modules)
root=$(mktemp -d)

copy() { # FILE: with the libraries that it is linked with
    for file in "$1" $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*' || true); do
        mkdir -p "$root$(dirname "$file")"
        [ -e "$root$file" ] || cp -L "$file" "$root$file"
    done
}

mkdir -p "$root/usr/lib" "$root/usr/lib64" "$root/usr/bin" "$root/usr/sbin"
for folder in lib lib64 bin sbin; do
    ln -s "usr/$folder" "$root/$folder"
done
for folder in proc sys dev run tmp etc root var/log var/lib; do
    mkdir -p "$root/$folder"
done
ln -s ../run "$root/var/run"

copy /usr/bin/busybox
for applet in $(busybox --list); do
    case $applet in
        busybox | ip) ;;
        *) ln -s /usr/bin/busybox "$root/usr/bin/$applet" ;;
    esac
done
copy /usr/sbin/ip
[ -e /usr/bin/ip ] && copy /usr/bin/ip
copy /usr/sbin/qemu-ga
copy "$(readlink -f /usr/bin/python3)"
ln -s "$(basename "$(readlink -f /usr/bin/python3)")" "$root/usr/bin/python3"

library=$(python3 -c 'import os; print(os.path.dirname(os.__file__))')
mkdir -p "$root$library"
python3 - "$library" "$root$library" << 'PYTHON'
import os
import py_compile
import shutil
import sys

SKIPPED = {'test', 'idlelib', 'lib2to3', 'ensurepip', 'tkinter', 'unittest',
           'pydoc_data', 'xml', 'xmlrpc', 'sqlite3', 'multiprocessing',
           'asyncio', 'curses', 'dbm', 'wsgiref', 'venv', 'zipapp',
           'distutils', 'turtledemo', 'concurrent', '_pyrepl', 'tomllib',
           'dist-packages', 'site-packages', '__pycache__'}
ENCODINGS = {'__init__', 'aliases', 'ascii', 'idna', 'latin_1', 'utf_8',
             'cp437'}
source, target = sys.argv[1:]
for folder, folders, files in os.walk(source):
    folders[:] = [name for name in folders if name not in SKIPPED
                  and not name.startswith('config-')]
    inside = os.path.join(target, os.path.relpath(folder, source))
    os.makedirs(inside, exist_ok=True)
    for name in files:
        stem, ending = os.path.splitext(name)
        path = os.path.join(folder, name)
        if os.path.basename(folder) == 'encodings' and stem not in ENCODINGS:
            continue
        if ending == '.py':
            # Beside its name, with no source: nothing to compare with.
            py_compile.compile(path, os.path.join(inside, stem + '.pyc'),
                               optimize=2, doraise=True)
        elif ending == '.so' and not name.startswith('_test'):
            shutil.copy(path, inside)
PYTHON
for extension in "$root$library"/lib-dynload/*.so; do
    copy "$library/lib-dynload/$(basename "$extension")"
done

for module in virtio_pci virtio_net virtio_console virtio_rng failover \
        net_failover igbvf af_packet nf_tables nfnetlink sch_ingress; do
    modprobe -S "$kernel" --show-depends --ignore-install "$module" \
        2>/dev/null || true
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u | while read -r file; do
    mkdir -p "$root$(dirname "$file")"
    case $file in
        *.xz) xz -dc "$file" > "$root${file%.xz}" ;;
        *.zst) zstd -qdc "$file" > "$root${file%.zst}" ;;
        *) cp "$file" "$root$file" ;;
    esac
done
for list in builtin order builtin.modinfo; do
    cp "/lib/modules/$kernel/modules.$list" "$root/usr/lib/modules/$kernel/"
done
depmod -b "$root" "$kernel"

cat > "$root/init" << 'INIT'
#!/bin/sh
export PATH=/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
# What the guest has of its own came in an archive behind this one.
cp -a /seed/. /
exec /sbin/start
INIT
chmod 755 "$root/init"

mkdir -p "$(dirname "$target")"
(cd "$root" && find . | cpio --quiet -o -H newc) | zstd -q -9 -f -o "$target"
# Behind it comes an archive that begins at a multiple of four.
truncate -s %4 "$target"
rm -rf "$root"
