/** Numbers in words for people. */

const whole = new Intl.NumberFormat('en');

export function count(value: number, one: string, many = `${one}s`): string {
  return `${whole.format(value)} ${value === 1 ? one : many}`;
}

/** "850 MB", "1.1 GB"; powers of ten, as disks are sold. */
export function bytes(value: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let size = value;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && size < 9.95 ? 1 : 0;
  return `${size.toFixed(digits)} ${units[unit]}`;
}

/** "5 s", "2 min", "1 h 5 min"; rough on purpose. */
export function duration(seconds: number): string {
  if (seconds < 57.5) return `${Math.max(1, Math.ceil(seconds / 5)) * 5} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function percent(part: number, total: number): number {
  return total > 0 ? Math.min(100, Math.floor((100 * part) / total)) : 0;
}

/** The last part of a path, of either kind of system. */
export function fileName(path: string): string {
  return path.split(/[\\/]/).filter(Boolean).at(-1) ?? path;
}

/** "today", "yesterday", "12 Mar", "12 Mar 2024". */
export function day(unixSeconds: number, now = new Date()): string {
  const date = new Date(unixSeconds * 1000);
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  if (date.getTime() >= midnight) return 'today';
  if (date.getTime() >= midnight - 86_400_000) return 'yesterday';
  const sameYear = date.getFullYear() === now.getFullYear();
  const options: Intl.DateTimeFormatOptions = { day: 'numeric', month: 'short' };
  return date.toLocaleDateString('en-GB', sameYear ? options : { ...options, year: 'numeric' });
}
