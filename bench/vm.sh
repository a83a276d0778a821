#!/usr/bin/env bash
# Runs the tests of sandbox/process, and what else is named, in a virtual machine
# whose cgroups are version 2 alone and whose kernel is newer than this one's may
# be: the walls are then proven where most machines are today.
#
#   bench/vm.sh                              all of sandbox/process
#   bench/vm.sh -test.v -test.run TestEscape with flags of the test program
#   PACKAGES="./sandbox/process ./sandbox/wasm" bench/vm.sh
#
# It needs root, Debian's qemu-system-x86, busybox-static, cpio, kmod and
# e2fsprogs, and a Debian kernel: KERNEL names
# its package (apt-get download linux-image-cloud-amd64 fetches what that depends
# on). The machine is made of this system's own packages, runs from a copy in
# memory, has no network, and leaves nothing behind. Without /dev/kvm it takes
# minutes: the processor is emulated.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${KERNEL:?the file of a linux-image-*-amd64.deb}"
packages=${PACKAGES:-./sandbox/process}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{proc,sys,dev,tmp,run,root,var/tmp,etc,tests}

# The system: the packages that interpreters and tests need, as they are here.
apt-cache depends --recurse --installed --no-{recommends,suggests,conflicts,breaks,replaces,enhances} \
  base-files bash dash coreutils findutils grep sed mount procps python3 nodejs util-linux kmod iproute2 libc-bin |
  grep '^[a-z]' | sort -u | (xargs dpkg -L 2>/dev/null || true) |
  grep -Ev '^/(usr/share/(doc|man|locale|info|lintian|bash-completion)|boot|\.$)' | sort -u >"$work/list"
for dir in bin sbin lib lib64; do mkdir -p "$root/usr/$dir" && ln -s "usr/$dir" "$root/$dir"; done
(tar -C / --no-recursion -cf - -T "$work/list" 2>/dev/null || true) | tar -C "$root" -xf -
cp /etc/passwd /etc/group /etc/ld.so.conf /etc/ld.so.cache "$root/etc/" 2>/dev/null || true
dpkg-deb -x "$KERNEL" "$work/kernel"
version=$(basename "$work"/kernel/boot/vmlinuz-* | sed 's/^vmlinuz-//')
modules=$(find "$work/kernel" -type d -path "*lib/modules/$version")
mkdir -p "$root/usr/lib/modules/$version/kernel"
for module in fs/overlayfs drivers/net/tun drivers/block/virtio_blk; do
  (cd "$modules" && find kernel -path "*/$module*" -name '*.ko*' -exec cp --parents {} "$root/usr/lib/modules/$version/" \;)
done
cp "$modules"/modules.{builtin,order} "$root/usr/lib/modules/$version/"
depmod -b "$root/usr" "$version" 2>/dev/null || depmod -b "$root" "$version"

# The tests, and the binary (or BINARY), for what it says of the machine.
[ -n "${BINARY:-}" ] || CGO_ENABLED=0 go build -o "$work/mayfly" ./cmd/mayfly
for package in $packages; do
  mkdir -p "$root/src/$package"
  CGO_ENABLED=0 go test -c -o "$root/tests/$(basename "$package").test" "$package"
  [ ! -d "$package/testdata" ] || cp -r "$package/testdata" "$root/src/$package/"
  echo "$package" >>"$root/tests/packages"
done
printf '%q ' "$@" >"$root/tests/flags"
cp "${BINARY:-$work/mayfly}" "$root/tests/mayfly"

# The first process of the system, and the one before it, which finds the disk.
cat >"$root/init" <<'INIT'
#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sysfs /sys
mkdir -p /dev/shm /dev/net; mount -t tmpfs tmpfs /tmp; mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup; mount -t securityfs securityfs /sys/kernel/security
modprobe overlay; modprobe tun; ip link set lo up
echo "kernel $(uname -r); cgroup2: $(cat /sys/fs/cgroup/cgroup.controllers); lsm: $(cat /sys/kernel/security/lsm)"
/tests/mayfly doctor
status=0
eval "set -- $(cat /tests/flags)"
for package in $(cat /tests/packages); do
  (cd "/src/$package" && "/tests/$(basename "$package").test" -test.timeout 60m "$@") || status=1
done
echo "vm: exit $status"
echo o >/proc/sysrq-trigger; sleep 60
INIT
chmod +x "$root/init"
size=$(($(du -sm "$root" | cut -f1) + 400))
mke2fs -q -t ext4 -d "$root" "$work/disk" "${size}M"

boot=$work/boot
mkdir -p "$boot"/{bin,dev,disk}
cp "$(command -v busybox)" "$boot/bin/busybox"
find "$modules" -name 'virtio_blk.ko*' -exec cp {} "$boot/" \;
[ ! -e "$boot"/virtio_blk.ko.xz ] || xz -d "$boot"/virtio_blk.ko.xz
cat >"$boot/init" <<'INIT'
#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
busybox insmod /virtio_blk.ko
until busybox mount -t ext4 /dev/vda /disk; do busybox sleep 1; done
busybox mount -o move /dev /disk/dev
exec busybox switch_root /disk /init
INIT
chmod +x "$boot/init"
(cd "$boot" && find . | cpio -o -H newc --quiet | gzip -1 >"$work/initrd")

accel=tcg,thread=multi
[ -r /dev/kvm ] && [ -w /dev/kvm ] && grep -qE 'vmx|svm' /proc/cpuinfo && accel=kvm
timeout "${VM_TIMEOUT:-3600}" qemu-system-x86_64 -accel "$accel" -cpu max -smp 2 -m 4096 -nographic -no-reboot -net none \
  -kernel "$work"/kernel/boot/vmlinuz-"$version" -initrd "$work/initrd" \
  -drive file="$work/disk",format=raw,if=virtio,cache=unsafe \
  -append "console=ttyS0 panic=-1 quiet lsm=landlock,lockdown,yama,apparmor" |
  tee "$work/log"
grep -q '^vm: exit 0' "$work/log"
