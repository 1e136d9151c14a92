/** Whatever a server does: the right bytes or an error that names the cause, and never anything wrong in the cache. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SeenRequest } from '../../test/fakes/hub-answer.ts';
import { faults } from '../../test/fakes/hub-answer.ts';
import { bytesOf, HubRig, smallLimits, tinyModel } from '../../test/fakes/hub-rig.ts';

let rig: HubRig;

beforeEach(async () => {
  rig = await HubRig.start();
});

afterEach(() => rig[Symbol.asyncDispose]());

const isInfo = ({ path }: SeenRequest): boolean => path.includes('/revision/');
const isTree = ({ path }: SeenRequest): boolean => path.includes('/tree/');
const isResolve = ({ path }: SeenRequest): boolean => path.includes('/resolve/');
const isStorage = (request: SeenRequest): boolean => request.origin === rig.server.storageOrigin;

/** The cache after a pull that nothing disturbed. */
async function undisturbed(): Promise<Record<string, string>> {
  await using other = await HubRig.start();
  await other.pull();
  return await other.contents();
}

/** No blob under its name, no link, no ref. */
async function expectNothingVisible(): Promise<void> {
  const names = Object.keys(await rig.contents());
  expect(names.filter((name) => !name.endsWith('.incomplete') && !/blobs\/[0-9a-f]{40}$/.test(name))).toEqual([]);
}

describe('a refusal has a code of its own and says what to do', () => {
  it('401: a private or missing model, without a token', async () => {
    await expect(rig.pull('acme/none')).rejects.toMatchObject({
      code: 'HUB_UNAUTHORIZED',
      remedy: expect.stringMatching(/HF_TOKEN/),
    });
  });

  it('401: a token that is not accepted', async () => {
    rig.token = 'hf_old';
    rig.server.faults.push(faults.status(401));
    await expect(rig.pull()).rejects.toMatchObject({
      code: 'HUB_UNAUTHORIZED',
      message: expect.not.stringContaining('hf_old'),
      remedy: expect.stringMatching(/token is valid/),
    });
  });

  it('403: a gated model, to somebody without a token and to somebody without access', async () => {
    await using gated = await HubRig.start([{ ...tinyModel, gated: 'manual' }], { tokens: ['hf_good'] });
    const told: string[] = [];
    const pull = () => gated.pull('acme/tiny', { onPlan: (plan) => told.push(plan.gated) });
    await expect(pull()).rejects.toMatchObject({
      code: 'HUB_GATED',
      remedy: expect.stringMatching(/then set HF_TOKEN/),
    });
    gated.token = 'hf_other';
    await expect(pull()).rejects.toMatchObject({ code: 'HUB_GATED', remedy: expect.stringMatching(/account/) });
    expect(Object.keys(await gated.contents())).toEqual([]);
    gated.token = 'hf_good';
    await pull();
    expect(told).toEqual(['manual', 'manual', 'manual']);
  });

  it('403 without a gate, with the words of the server cut to what a terminal bears', async () => {
    rig.server.faults.push(faults.status(403, { 'x-error-message': `disabled\u00a9${'x'.repeat(500)}` }));
    const error = await rig.pull().catch((thrown: unknown) => thrown as Error & { code: string });
    expect(error).toMatchObject({ code: 'HUB_FORBIDDEN', message: expect.stringMatching(/disabled[?]+x+$/) });
    expect((error as Error).message.length).toBeLessThan(300);
  });

  it('404: no such model, revision or file', async () => {
    await using known = await HubRig.start([tinyModel], { tokens: ['hf_good'] });
    known.token = 'hf_good';
    await expect(known.pull('acme/none')).rejects.toMatchObject({ code: 'HUB_REPO_NOT_FOUND' });
    await expect(known.pull('acme/tiny@v9')).rejects.toMatchObject({ code: 'HUB_REVISION_NOT_FOUND' });
    known.server.faults.push(faults.answer({ status: 404, headers: { 'x-error-code': 'EntryNotFound' } }, isResolve));
    await expect(known.pull()).rejects.toMatchObject({ code: 'HUB_FILE_NOT_FOUND' });
    known.server.faults.splice(0, 1, faults.answer({ status: 404, headers: {} }, isResolve));
    await expect(known.pull()).rejects.toMatchObject({ code: 'HUB_FILE_NOT_FOUND' });
  });

  it('any other status is not mistaken for one of these', async () => {
    rig.server.faults.push(faults.status(418));
    await expect(rig.pull()).rejects.toMatchObject({ code: 'HUB_PROTOCOL', message: expect.stringMatching(/418/) });
  });
});

describe('a server that is overloaded', () => {
  it('is asked again when it wants to be, and everything comes', async () => {
    rig.server.faults.push(
      faults.status(429, { 'retry-after': '42' }),
      faults.status(503),
      { ...faults.status(500), fits: isStorage },
      { ...faults.status(429, { ratelimit: '"resolvers";r=0;t=17' }), fits: isResolve },
    );
    await rig.pull();
    expect(rig.clock.sleepsMs).toHaveLength(4);
    expect(rig.clock.sleepsMs).toEqual(expect.arrayContaining([42_000, 17_000]));
    expect(await rig.contents()).toEqual(await undisturbed());
  });

  it.each([
    [429, 'HUB_RATE_LIMITED'],
    [500, 'HUB_UNAVAILABLE'],
    [503, 'HUB_UNAVAILABLE'],
  ])('is given up after a number of tries: %i', async (status, code) => {
    rig.server.faults.push(faults.status(status, {}, Number.POSITIVE_INFINITY));
    await expect(rig.pull()).rejects.toMatchObject({ code, message: expect.stringMatching(/after 6 tries/) });
    expect(rig.server.requests).toHaveLength(6);
  });

  it('is not waited for longer than is reasonable', async () => {
    rig.server.faults.push(faults.status(429, { 'retry-after': '3600' }));
    await expect(rig.pull()).rejects.toMatchObject({
      code: 'HUB_RATE_LIMITED',
      message: expect.stringMatching(/3600 s/),
    });
    expect(rig.clock.sleepsMs).toEqual([]);
  });
});

describe('a connection', () => {
  it('that is cut again and again goes on where it was', async () => {
    rig.server.faults.push(faults.cutAfter(3000, 8));
    await rig.pull();
    expect(await rig.contents()).toEqual(await undisturbed());
    const ranges = rig.server.fileRequests.filter(isStorage).map(({ range }) => range);
    expect(
      ranges.some(
        (range) => /^bytes=\d*[1-9]\d*-/.test(range ?? '') && !/^bytes=(0|4096|8192|12288|16384)-/.test(range ?? ''),
      ),
    ).toBe(true);
  });

  it('that never brings anything is given up, and what others brought is kept for the next run', async () => {
    const isFirst = (request: SeenRequest): boolean => isStorage(request) && request.range === 'bytes=0-4095';
    rig.server.faults.push({ ...faults.cutAfter(0), fits: isFirst });
    await expect(rig.pull()).rejects.toMatchObject({ code: 'HUB_UNAVAILABLE', remedy: expect.stringMatching(/kept/) });
    await expectNothingVisible();
    rig.server.faults.length = 0;
    await rig.pull();
    expect(await rig.contents()).toEqual(await undisturbed());
  });

  it('that ends early as if that were the end is cut as well', async () => {
    rig.server.faults.push({ ...faults.length((body) => body.subarray(0, 1000), true), times: 1, fits: isStorage });
    await rig.pull('acme/tiny', { limits: { ...smallLimits, partBytes: 1 << 20 } });
    expect(await rig.contents()).toEqual(await undisturbed());
  });

  it('on which nothing comes any more is given up and opened anew', async () => {
    rig.server.faults.push({ ...faults.stallAfter(2048, 1), fits: isStorage });
    let reports = 0;
    await rig.pull('acme/tiny', {
      include: ['model-1.safetensors'],
      limits: { ...smallLimits, connections: 1, partBytes: 1 << 20 },
      onProgress: (done) => {
        if (done === 2048 && ++reports === 1) rig.clock.expire();
      },
    });
    expect(reports).toBe(1);
    expect(rig.clock.sleepsMs).toHaveLength(1);
  });

  it('is not waited for when its headers do not come', async () => {
    const silent = { status: 200, headers: {}, isFile: true, body: bytesOf('x', 10), isSilent: true };
    rig.server.faults.push(faults.answer(silent, isInfo, 1));
    const pulled = rig.pull();
    await rig.server.untilSilent();
    rig.clock.expire();
    await pulled;
    expect(rig.clock.sleepsMs).toHaveLength(1);
  });
});

describe('bytes that are not what is listed', () => {
  it.each(['config.json', 'model-1.safetensors'])('never get a name in the cache: %s', async (file) => {
    rig.server.faults.push(faults.wrongByte(5));
    await expect(rig.pull('acme/tiny', { include: [file] })).rejects.toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: expect.stringContaining(file),
    });
    expect(await rig.contents(), 'and are gone').toEqual({});
    rig.server.faults.length = 0;
    await rig.pull('acme/tiny', { include: [file] });
  });

  it('are loaded once more when they began with what an earlier run left', async () => {
    rig.server.faults.push(
      { ...faults.wrongByte(5, 1), fits: isStorage },
      { ...faults.status(500, {}, Number.POSITIVE_INFINITY), fits: ({ range }) => range === 'bytes=8192-12287' },
    );
    const one = { include: ['model-1.safetensors'], limits: { ...smallLimits, connections: 1 } };
    await expect(rig.pull('acme/tiny', one)).rejects.toMatchObject({ code: 'HUB_UNAVAILABLE' });
    rig.server.faults.length = 0;
    const reports: number[] = [];
    await rig.pull('acme/tiny', { ...one, onProgress: (done) => reports.push(done) });
    expect(reports.at(-1)).toBe(20_000);
    expect(reports[0]).toBeGreaterThan(4096);
  });

  it.each([
    ['longer', (body: Uint8Array) => Uint8Array.from([...body, 1, 2, 3])],
    ['shorter', (body: Uint8Array) => body.subarray(0, -7)],
  ])('are refused at once when there are %s of them', async (_, change) => {
    rig.server.faults.push(faults.length(change));
    for (const partBytes of [4096, 1 << 20]) {
      const limits = { ...smallLimits, partBytes };
      await expect(rig.pull('acme/tiny', { limits })).rejects.toMatchObject({ code: 'SIZE_MISMATCH' });
    }
    await expectNothingVisible();
  });

  it('are refused when there are more than the server said', async () => {
    rig.server.faults.push(faults.length((body) => Uint8Array.from([...body, 1]), true));
    await expect(rig.pull('acme/tiny', { limits: { ...smallLimits, partBytes: 1 << 20 } })).rejects.toMatchObject({
      code: 'SIZE_MISMATCH',
    });
    await expectNothingVisible();
  });

  it.each([
    ['x-linked-size', '19999', 'SIZE_MISMATCH'],
    ['x-linked-etag', `"${'a'.repeat(64)}"`, 'HUB_PROTOCOL'],
    ['x-repo-commit', 'a'.repeat(40), 'HUB_PROTOCOL'],
  ])('are not even asked for when the Hub itself says otherwise in %s', async (name, value, code) => {
    rig.server.faults.push(faults.headers({ [name]: value }, isResolve));
    await expect(rig.pull('acme/tiny', { include: ['model-1.safetensors'] })).rejects.toMatchObject({ code });
    expect(await rig.contents()).toEqual({});
  });

  it('are refused when they are of another range', async () => {
    rig.server.faults.push(
      faults.headers({ 'content-range': 'bytes 0-4095/20000' }, ({ range }) => range === 'bytes=4096-8191'),
    );
    await expect(rig.pull('acme/tiny')).rejects.toMatchObject({ code: 'SIZE_MISMATCH' });
  });
});

describe('a server that sends whole files only', () => {
  it('brings them in one stream each', async () => {
    rig.server.faults.push(faults.ignoreRange());
    const { missingBytes } = await rig.pull();
    expect(missingBytes).toBeGreaterThan(0);
    expect(await rig.contents()).toEqual(await undisturbed());
  });

  it('may be cut, and then what is there already is passed over', async () => {
    rig.server.faults.push({ times: 3, change: (honest) => ({ ...honest, ignoresRange: true, cutAfter: 9000 }) });
    rig.server.faults.push(faults.ignoreRange());
    const reports: number[] = [];
    const { missingBytes } = await rig.pull('acme/tiny', { onProgress: (done) => reports.push(done) });
    expect(await rig.contents()).toEqual(await undisturbed());
    expect(reports.at(-1)).toBe(missingBytes);
  });

  it('may have sent ranges before', async () => {
    rig.server.faults.push({ ...faults.status(418), fits: ({ range }) => range === 'bytes=4096-8191' });
    const one = { include: ['model-1.safetensors'], limits: { ...smallLimits, connections: 5 } };
    await rig.pull('acme/tiny', one).catch(() => {});
    rig.server.faults.splice(0, 1, faults.ignoreRange());
    const reports: number[] = [];
    await rig.pull('acme/tiny', { ...one, onProgress: (done) => reports.push(done) });
    expect(reports.at(-1)).toBe(20_000);
  });
});

describe('redirects', () => {
  const redirect = (location: string) => ({ status: 302, headers: { location } });

  it('to another host never take the token along, not even back', async () => {
    await using closed = await HubRig.start([{ ...tinyModel, isPrivate: true }], { tokens: ['hf_good'] });
    closed.token = 'hf_good';
    await closed.pull();
    const { endpoint, storageOrigin } = closed.server;
    const tokens = (origin: string) =>
      closed.server.requests.filter((request) => request.origin === origin).map(({ authorization }) => authorization);
    expect(new Set(tokens(endpoint))).toEqual(new Set(['Bearer hf_good']));
    expect(new Set(tokens(storageOrigin))).toEqual(new Set([undefined]));

    const before = closed.server.requests.length;
    closed.server.faults.push(
      faults.answer(redirect(`${endpoint}/stolen`), ({ origin }) => origin === storageOrigin, 1),
    );
    await closed.pull('acme/tiny', { include: ['onnx/model.onnx'] });
    const stolen = closed.server.requests.slice(before).filter(({ path }) => path === '/stolen');
    expect(stolen.map(({ authorization }) => authorization)).toEqual([undefined]);
  });

  it('of a renamed model are followed with the token', async () => {
    await using closed = await HubRig.start([{ ...tinyModel, isPrivate: true }], { tokens: ['hf_good'] });
    closed.token = 'hf_good';
    const fault = faults.answer(redirect(''), ({ path }) => path.includes('acme/old'));
    closed.server.faults.push({
      ...fault,
      change: (_, { path }) => ({ status: 307, headers: { location: path.replace('acme/old', 'acme/tiny') } }),
    });
    expect((await closed.pull('acme/old')).folder).toContain('models--acme--old');
  });

  it('that do not end are not followed for ever', async () => {
    rig.server.faults.push(faults.answer(redirect('/again'), () => true));
    await expect(rig.pull()).rejects.toMatchObject({
      code: 'HUB_PROTOCOL',
      message: expect.stringMatching(/5 redirects/),
    });
    expect(rig.server.requests).toHaveLength(6);
  });

  it.each(['file:///etc/passwd', 'ftp://127.0.0.1/x', 'http://['])('to %s are not followed', async (location) => {
    rig.server.faults.push(faults.answer(redirect(location), () => true));
    await expect(rig.pull()).rejects.toMatchObject({
      code: 'HUB_PROTOCOL',
      message: expect.stringMatching(/redirects/),
    });
  });

  it('whose link has expired are asked for again', async () => {
    rig.server.faults.push({
      ...faults.status(403),
      fits: (request) => isStorage(request) && request.range === 'bytes=8192-12287',
    });
    await rig.pull('acme/tiny', { include: ['model-1.safetensors'], limits: { ...smallLimits, connections: 1 } });
    const asked = rig.server.fileRequests.filter(isResolve);
    expect(asked.length).toBe(2);
  });
});

describe('answers that make no sense', () => {
  const body = (value: unknown) => new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
  const answer = (value: unknown) => ({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: body(value),
  });
  const entry = { type: 'file', path: 'a', size: 1, oid: 'a'.repeat(40) };

  it.each([
    ['no JSON', '<html>Please log in to this network</html>'],
    ['no object', []],
    ['no commit', { id: 'acme/tiny', gated: false, private: false }],
    ['no full commit', { sha: 'abc' }],
    ['an unknown gate', { sha: 'a'.repeat(40), gated: 'perhaps' }],
  ])('about a model: %s', async (_, value) => {
    rig.server.faults.push(faults.answer(answer(value), isInfo));
    await expect(rig.pull()).rejects.toMatchObject({
      code: 'HUB_PROTOCOL',
      remedy: expect.stringMatching(/HF_ENDPOINT/),
    });
  });

  it.each([
    ['no list', {}],
    ['a negative size', [{ ...entry, size: -1 }]],
    ['no digest', [{ ...entry, oid: undefined }]],
    ['a digest that is none', [{ ...entry, oid: '../../x' }]],
    ['a large file without its digest', [{ ...entry, lfs: { oid: 'abc', size: 1 } }]],
    ['a file twice', [entry, entry]],
  ])('about its files: %s', async (_, value) => {
    rig.server.faults.push(faults.answer(answer(value), isTree));
    await expect(rig.pull()).rejects.toMatchObject({ code: 'HUB_PROTOCOL' });
    expect(await rig.contents()).toEqual({});
  });

  it.each(['../../../escaped', '/tmp/escaped', 'a/../../../escaped', 'x\0.json', 'a\\..\\..\\escaped', ''])(
    'about its files: one named %j',
    async (name) => {
      rig.server.faults.push(faults.answer(answer([{ ...entry, path: name }]), isTree));
      await expect(rig.pull()).rejects.toMatchObject({ code: 'UNSAFE_FILE_NAME' });
      expect(await rig.contents()).toEqual({});
    },
  );

  it('of a file that would lie in another file', async () => {
    await using odd = await HubRig.start([
      { repo: 'acme/tiny', files: { a: bytesOf('a', 5), 'a/b': bytesOf('b', 5) } },
    ]);
    await expect(odd.pull('acme/tiny', { include: ['*'] })).rejects.toMatchObject({ code: 'IO_ERROR' });
  });
});
