# A host's network namespace made a machine: its own mounts, processes, name and file system, an sshd and a dockerd.
# Run as the first process of a new pid namespace: sh machine.sh FOLDER NAME NETWORK PATH
# FOLDER has upper, work, root, docker (a real disk) and share (keys and logs).
set -eu
folder=$1 name=$2 network=$3 path=$4
root=$folder/root
mount --make-rprivate /
hostname "${name##*-}"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"
mkdir -p "$root/var/lib/docker"
mount --bind "$folder/docker" "$root/var/lib/docker" # Docker's overlays cannot lie on an overlay
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup" # after sysfs, which would hide it
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/run/sshd" "$root/run/bed"
mount --bind "$folder/share" "$root/run/bed"
if [ ! -e "$folder/share/made" ]; then # what this computer keeps for itself is not the machine's
  rm -rf "$root/opt/fleetctl" "$root/etc/docker" "$root/root/.bashrc" "$root/root/.docker"
  tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
  : >"$folder/share/made"
fi
cat >"$folder/share/sshd_config" <<CONFIG
HostKey /run/bed/host_key
AuthorizedKeysFile /run/bed/authorized_keys
PidFile none
StrictModes no
UsePAM no
UseDNS no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
SetEnv PATH=$path SSL_CERT_FILE=/run/bed/trusted.pem
CONFIG
# Not chroot alone: whoever enters the mount namespace, as `docker exec` does, would come out in this computer's root.
cd "$root"
pivot_root . mnt
# shellcheck disable=SC2016  # expanded inside
exec chroot . env -i PATH="$path" HOME=/root sh -c '
  cd /
  umount -l /mnt
  dockerd --insecure-registry "$1" --cgroup-parent "/$2" --pidfile /run/docker.pid >/run/bed/dockerd.log 2>&1 </dev/null &
  exec /usr/sbin/sshd -D -f /run/bed/sshd_config -E /run/bed/sshd.log
' init "$network" "$name"
