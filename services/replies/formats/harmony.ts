/**
 * gpt-oss: messages with a header each. The channel says what a message is: analysis is reasoning, final and commentary are
 * for the reader, and one that names a recipient is a call.
 */
import { readArguments } from '../json-arguments.ts';
import { findMarker } from '../marker-search.ts';
import { beginCall, isFunctionName, type Reply, type ReplyFormat } from '../reply-format.ts';
import type { Reading } from '../reply-source.ts';

const start = '<|start|>';
const channelMark = '<|channel|>';
const constrain = '<|constrain|>';
const message = '<|message|>';
const ends = ['<|end|>', '<|return|>', '<|call|>'];

/** Characters of a header; a longer one is none. */
const maxHeaderLength = 512;

interface Header {
  readonly channel: string | undefined;
  readonly recipient: string | undefined;
}

function* read(reply: Reply): Reading<void> {
  const { source } = reply;
  // The prompt ends inside the first header.
  let isHeader = yield* source.comesNext([channelMark, message, start, ' to=']);
  while (!(yield* source.isAtEnd())) {
    if (isHeader) yield* readMessage(reply);
    yield* findMarker(source, {
      ...{ markers: [start, channelMark], framed: false },
      onText: (length) => source.take(length, 'content'),
    });
    isHeader = true;
  }
}

/** A header and what follows it up to the end of the message. What is no header is content. */
function* readMessage(reply: Reply): Reading<void> {
  const { source } = reply;
  source.hold();
  const text = yield* source.readUpTo([message], maxHeaderLength);
  if (text === undefined && source.ended && beginsHeader(source.text)) {
    // It is cut off inside a header, which is nothing to show.
    source.takeRest('structure');
    source.release('structure');
    return;
  }
  if (text === undefined) {
    // Past its first marker, so that the search for the next one goes on behind it.
    for (const marker of [start, channelMark]) yield* source.accept(marker);
    source.release('content');
    return;
  }
  yield* source.accept(message);
  const { channel, recipient } = parseHeader(text);
  if (recipient !== undefined && reply.readsCalls) {
    beginCall(reply, recipient);
    yield* readArguments(reply, [...ends, start]);
  } else {
    source.release('structure');
    const kind = channel === 'analysis' ? 'reasoning' : 'content';
    yield* findMarker(source, {
      ...{ markers: [...ends, start], framed: false },
      onText: (length) => source.take(length, kind),
    });
  }
  for (const end of ends) if (yield* source.accept(end)) break;
}

const partialHeader =
  /^(<\|start\|>\w*)?( to=[^\s<]*)?(<\|channel\|>\w*( to=[^\s<]*)?( ?<\|constrain\|>| )?\w*)?(<[|\w]*)?$/;

function beginsHeader(text: string): boolean {
  return partialHeader.test(text);
}

/** The recipient may stand before the channel or behind it. */
function parseHeader(text: string): Header {
  const channel = /<\|channel\|>\s*([^\s<]+)/.exec(text)?.[1];
  const recipient = /\bto=([^\s<]+)/.exec(text)?.[1]?.replace(/^functions\./, '');
  return { channel, recipient: isFunctionName(recipient) ? recipient : undefined };
}

export const harmony: ReplyFormat = {
  name: 'harmony',
  signs: [channelMark, message],
  markers: [start, channelMark, constrain, message, ...ends],
  read,
};
