/** File systems of a test's own: mounted in a private view, gone with the last process that sees them. */

/**
 * Words before a command that run it with a private view of mounts, as root or as root of a user namespace. `script` runs in sh before
 * it, for one `mount -t tmpfs -o size=400k tmpfs /some/folder`; the command is "$@" to it.
 */
export function inMountNamespace(script: string): readonly string[] {
  const asRoot = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  return ['unshare', ...asRoot, '--mount', 'sh', '-euc', `${script}\nexec "$@"`, 'sh'];
}
