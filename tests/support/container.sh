# Run a command like in a container: `unshare --mount bash container.sh ROOT BENTO USER VARIABLE=VALUE... COMMAND...`
#
# ROOT, an empty folder, becomes a root file system with this machine's programs and BENTO only. It is read-only, except
# for the folders in $WRITABLE. The command runs in it with the user ID USER, without capabilities, and with the given
# variables only. $PYTHONS lists the folders of the Python environment that an image would contain.
set -eu
root=$1 bento=$2 user=$3
shift 3

show() {
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    mount -o remount,bind,ro "$root$2"
}

mount -t tmpfs tmpfs "$root"
for folder in /bin /sbin /lib /lib64; do
    if [ -L $folder ]; then cp -d $folder "$root"; elif [ -d $folder ]; then show $folder $folder; fi
done
for folder in $WRITABLE; do
    mkdir -p "$root$folder"
    mount -t tmpfs -o mode=0777 tmpfs "$root$folder"
done
for folder in /usr /etc $PYTHONS; do show "$folder" "$folder"; done
show "$bento" /home/bentoml/bento
mkdir "$root/proc" "$root/dev"
mount --rbind /proc "$root/proc"
for device in null zero random urandom; do
    touch "$root/dev/$device"
    mount --bind /dev/$device "$root/dev/$device"
done
mount -o remount,ro "$root"
exec chroot "$root" setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs --bounding-set=-all \
    --inh-caps=-all env -i "$@"
