/** What a reply is made of, in the order in which the model wrote it. */

export type ReplyEvent =
  | { readonly kind: 'content'; readonly text: string }
  | { readonly kind: 'reasoning'; readonly text: string }
  /** Markers, and the source of calls. Nobody is shown it; content, reasoning and structure together are the reply. */
  | { readonly kind: 'structure'; readonly text: string }
  /** A call begins. id: only where the model names its calls. */
  | { readonly kind: 'call'; readonly index: number; readonly name: string; readonly id: string | undefined }
  /** The next piece of its arguments, a JSON object unless the call ends with a fault. */
  | { readonly kind: 'arguments'; readonly index: number; readonly text: string }
  | { readonly kind: 'call-end'; readonly index: number; readonly fault: CallFault | undefined };

/** truncated: the reply ended inside the call. malformed: the arguments are not a JSON object. */
export type CallFault = 'truncated' | 'malformed';

export type TextKind = 'content' | 'reasoning' | 'structure';
