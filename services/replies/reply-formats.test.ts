import { expect, test } from 'vitest';
import { replySamples } from '../../test/fixtures/reply-samples.ts';
import { chooseReplyFormat, replyFormatNamed, replyFormats } from './reply-formats.ts';

const choose = (template: string, ...tokens: string[]): string | undefined =>
  chooseReplyFormat(template === '' ? [] : [template], new Set(tokens))?.name;

test('every format has a name of its own, signs among others, and samples', () => {
  expect(new Set(replyFormats.map(({ name }) => name)).size).toBe(replyFormats.length);
  for (const format of replyFormats) {
    expect(replyFormatNamed(format.name)).toBe(format);
    expect(choose(format.signs.join(' and '))).toBe(format.name);
    expect(replySamples.some((sample) => sample.format === format.name)).toBe(true);
  }
});

test('no marker that is searched for is the beginning of another', () => {
  for (const { name, markers } of replyFormats) {
    const clashes = markers.filter((one) => markers.some((other) => other !== one && other.startsWith(one)));
    expect({ name, clashes }).toEqual({ name, clashes: [] });
  }
});

test('what several formats share does not decide', () => {
  expect(choose('<think> <tool_call> <function=x>')).toBe('qwen-xml');
  expect(choose('<think> <tool_call> {"name"')).toBe('hermes');
  expect(choose('<think> <tool_call> <arg_key>')).toBe('glm');
  expect(choose('<think> <tool_call> <response>')).toBe('ernie');
  expect(choose('<tool_call> <tool_response>')).toBe('hermes');
  expect(choose('<think> only')).toBe('think');
  expect(choose('<｜tool▁calls▁begin｜> … ```json')).toBe('deepseek-v3');
  expect(choose('<｜tool▁calls▁begin｜> …')).toBe('deepseek-v3.1');
});

test('the template decides, and added tokens only where it shows nothing', () => {
  expect(choose('plain', '<think>', '<tool_call>')).toBe('hermes');
  expect(choose('', '<|channel|>', '<|message|>')).toBe('harmony');
  expect(choose('<｜tool▁calls▁begin｜> ```json', '<tool_call>', '<think>')).toBe('deepseek-v3');
  expect(choose('', '｜DSML｜', '<｜tool▁calls▁begin｜>')).toBe('deepseek-v3.2');
  expect(choose('plain', '<s>')).toBeUndefined();
  expect(choose('')).toBeUndefined();
});
