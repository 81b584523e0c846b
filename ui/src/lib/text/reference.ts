/** Words taken along, with where they stand. */

/** `“The words.” (Title, p. 213)`; without a place, the title alone. */
export function withReference(words: string, title: string, place: string): string {
  const quoted = words.replace(/\s+/g, ' ').trim();
  return `“${quoted}” (${place ? `${title}, ${place}` : title})`;
}

/** Puts text on the clipboard; false if the system would not have it. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
