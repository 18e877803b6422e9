# A folder made a host: systemd as first process, with mounts, processes, a name and control groups of its own, and no
# network but loopback. Run as the first process of a new pid namespace, in its control group: sh host.sh FOLDER SYSTEM PATH...
# FOLDER has upper, work and root (a real disk); SYSTEM is the file system that it begins with; each PATH is there, read-only.
set -eu
folder=$1 system=$2
shift 2
root=$folder/root
mount --make-rprivate /
hostname host
ip link set lo up
mount -t overlay overlay -o "lowerdir=$system,upperdir=$folder/upper,workdir=$folder/work" "$root"
echo host >"$root/etc/hostname"
echo 127.0.0.1 localhost host >"$root/etc/hosts"
: >"$root/etc/resolv.conf"
# What would touch the kernel that all share, wait for a terminal, or look for a way out.
for unit in sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount \
  systemd-modules-load.service getty.target apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
  e2scrub_all.timer fstrim.timer; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup" # after sysfs, which would hide it
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for name in null zero full random urandom tty; do
  : >"$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
for path in "$@"; do
  mkdir -p "$root$path"
  above=$path
  while above=${above%/*} && [ -n "$above" ]; do
    [ -w "$root$above" ] && chmod a+x "$root$above" # as of /root: users go through it, and see nothing in it
  done
done
for path in "$@"; do
  mount --bind "$path" "$root$path"
  mount -o remount,bind,ro "$root$path"
done
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
# Not chroot alone: whoever enters the mount namespace would come out in this computer's root.
cd "$root"
pivot_root . mnt
# shellcheck disable=SC2016  # expanded inside
exec chroot . env -i container=other PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb sh -c '
  cd /
  umount -l /mnt
  exec /lib/systemd/systemd --system --log-target=console --log-color=no --show-status=no
'
