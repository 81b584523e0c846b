import { describe, expect, it } from 'vitest';
import { withReference } from './reference';

describe('a quotation with its reference', () => {
  it('stands in one line, whatever lines it was set in', () => {
    expect(withReference('  The light\n was  lit. ', 'Skarn', 'p. 7')).toBe('“The light was lit.” (Skarn, p. 7)');
    expect(withReference('Lit.', 'Skarn', '')).toBe('“Lit.” (Skarn)');
  });
});
