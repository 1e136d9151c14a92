/** Calls as a client gets them: in deltas, of which those of one call and one step are one. */
import { type ToolCallDelta, ToolCallFault } from '#proto/inference.ts';
import type { CallFault, ReplyEvent } from '#replies/reply-event.ts';

export type CallEvent = Extract<ReplyEvent, { readonly index: number }>;

const faults: Readonly<Record<CallFault, ToolCallFault>> = {
  truncated: ToolCallFault.TOOL_CALL_FAULT_TRUNCATED,
  malformed: ToolCallFault.TOOL_CALL_FAULT_MALFORMED,
};

const noFault = ToolCallFault.TOOL_CALL_FAULT_UNSPECIFIED;

/** Adds the event to what this step has of its call. idPrefix: begins the id of a call that the model gave none. */
export function addCallEvent(deltas: ToolCallDelta[], event: CallEvent, idPrefix: string): void {
  switch (event.kind) {
    case 'call': {
      const { index, name, id = `${idPrefix}${index}` } = event;
      deltas.push({ index, id, name, arguments: '', fault: noFault });
      return;
    }
    case 'arguments':
      deltaOf(deltas, event.index).arguments += event.text;
      return;
    case 'call-end':
      if (event.fault !== undefined) deltaOf(deltas, event.index).fault = faults[event.fault];
      return;
  }
}

/** The last delta, when it is of this call, or a new one. */
function deltaOf(deltas: ToolCallDelta[], index: number): ToolCallDelta {
  const last = deltas.at(-1);
  if (last?.index === index) return last;
  const delta: ToolCallDelta = { index, id: '', name: '', arguments: '', fault: noFault };
  deltas.push(delta);
  return delta;
}
