// Direction of imports. A breach or a cycle fails `npm run check`; docs/architecture.md has the picture.
const only = (name, comment, vendor, ...files) => ({
  name: `only-adapter-imports-${name}`,
  comment,
  severity: 'error',
  from: { pathNot: [...files, '^test/', '^proto/gen/', '[.]test[.]ts$'] },
  to: { path: vendor },
});
const never = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to });
const room = (path) => `^${path}/`;

module.exports = {
  forbidden: [
    never('no-cycles', 'Modules must not import each other in a circle.', {}, { circular: true }),
    never('no-orphan-import', 'Every import must resolve.', {}, { couldNotResolve: true }),
    never(
      'platform-is-a-leaf',
      'services/platform knows no word of the domain.',
      { path: room('services/platform'), pathNot: '[.]test[.]ts$' },
      { path: '^(services|workers|proto/gen)/', pathNot: room('services/platform') },
    ),
    never(
      'tokenizer-is-a-leaf',
      'services/tokenizer turns text into ids and back; it needs the platform only.',
      { path: room('services/tokenizer'), pathNot: '[.]test[.]ts$' },
      { path: '^(services|workers|proto/gen)/', pathNot: '^services/(tokenizer|platform)/' },
    ),
    never(
      'replies-is-a-leaf',
      'services/replies reads the text of replies, wherever it comes from; it needs the platform only.',
      { path: room('services/replies'), pathNot: '[.]test[.]ts$' },
      { path: '^(services|workers|proto/gen)/', pathNot: '^services/(replies|platform)/' },
    ),
    never(
      'hub-is-a-leaf',
      'services/hub brings models into the cache and knows nothing of what is in them; it needs the platform only.',
      { path: room('services/hub'), pathNot: '[.]test[.]ts$' },
      { path: '^(services|workers|proto/gen)/', pathNot: '^services/(hub|platform)/' },
    ),
    never(
      'services-meet-in-proto',
      'Router and controller never import each other, the command line or a worker.',
      { path: '^services/(router|controller|client)/([^/]+)', pathNot: '[.]test[.]ts$' },
      { path: '^(services|workers)/', pathNot: ['^services/(platform|tokenizer|replies)/', '^services/$1/'] },
    ),
    never(
      'engine-is-pure',
      'The engine sees only its own interfaces, assert and errors: no I/O, no ONNX Runtime, no clock.',
      { path: room('workers/engine'), pathNot: '[.]test[.]ts$' },
      { pathNot: ['^workers/engine/', '^services/platform/(assert|errors)[.]ts$'] },
    ),
    never(
      'models-are-data',
      'workers/models describes families and packages; it holds no bytes and does no I/O.',
      { path: room('workers/models'), pathNot: '[.]test[.]ts$' },
      {
        pathNot: [
          '^workers/models/',
          '^services/platform/(assert|errors)[.]ts$',
          '^node_modules/zod',
          '^proto/gen/onnx[.]ts$',
          '^util$',
        ],
      },
    ),
    never(
      'slicer-and-rank-meet-in-the-manifest',
      'Slicer and rank share workers/models and nothing else.',
      { path: room('workers/slicer'), pathNot: '[.]test[.]ts$' },
      { path: '^workers/(rank|worker|engine|runtime|collectives)/' },
    ),
    never(
      'adapters-read-files-and-fill-memory',
      'workers/adapters cuts adapters for ranks; of the slicer it needs what reads safetensors.',
      { path: room('workers/adapters'), pathNot: '[.]test[.]ts$' },
      {
        path: '^(workers|services)/',
        pathNot: ['^workers/(adapters|models)/', '^workers/slicer/(safetensors|widen)[.]ts$', '^services/platform/'],
      },
    ),
    never(
      'ranks-see-the-memory-of-adapters-only',
      'Who reads adapters is not for a rank to know.',
      { path: '^workers/rank/', pathNot: '[.]test[.]ts$' },
      { path: '^workers/adapters/', pathNot: '^workers/adapters/adapter-memory[.]ts$' },
    ),
    never(
      'rank-never-imports-slicer-or-worker',
      'A rank runs inside a worker and does not know it.',
      { path: '^workers/(rank|runtime|collectives|engine)/', pathNot: '[.]test[.]ts$' },
      { path: '^(workers/(slicer|worker)|services/(router|controller|cli|client))/' },
    ),
    never(
      'tests-stay-in-tests',
      'Only tests and measuring scripts import test/.',
      { pathNot: ['^(test|scripts)/', '[.]test[.]ts$'] },
      { path: '^test/' },
    ),
    only(
      'koffi',
      'The only doors to native code.',
      'node_modules/(koffi|onnxruntime-node)',
      '^workers/runtime/(ort-api|process-memory)[.]ts$',
      '^services/platform/file-lock[.]ts$',
    ),
    only('etcd3', 'The only door to etcd.', 'node_modules/etcd3', '^services/platform/store-etcd[a-z-]*[.]ts$'),
    only('nats', 'The only door to NATS.', 'node_modules/nats', '^services/platform/bus-nats[a-z-]*[.]ts$'),
    only(
      'grpc',
      'gRPC servers and channels are made in one place.',
      'node_modules/(@grpc|grpc-health-check)',
      '^services/platform/rpc[a-z-]*[.]ts$',
    ),
    only(
      'huggingface',
      'The only door to tokenizers and templates.',
      'node_modules/@huggingface/(tokenizers|jinja)',
      '^services/tokenizer/',
    ),
    only('hub', 'The only door to the Hub.', 'node_modules/@huggingface/hub', '^services/hub/hub-api[.]ts$'),
    only('pino', 'Logs have one form.', 'node_modules/pino', '^services/platform/log[.]ts$'),
    only('prom-client', 'Metrics have one form.', 'node_modules/prom-client', '^services/platform/metrics[.]ts$'),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^proto/gen/google/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
      extensions: ['.ts', '.js', '.cjs', '.json', '.d.ts'],
    },
  },
};
