/** A view of mounts of its own for one command, so that a test can have a disk of any size. */

/**
 * Words to put before a command: they run the shell script as root, or as root of a user namespace, and then the command, which
 * the script knows as "$@". What the script mounts is gone with it. It ends at the first of its lines that fails.
 */
export function withPrivateMounts(script: string): readonly string[] {
  const asRoot = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  return ['unshare', ...asRoot, '--mount', 'sh', '-euc', `${script}\nexec "$@"`, 'sh'];
}
