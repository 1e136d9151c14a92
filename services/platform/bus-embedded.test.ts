import { busContract } from '../../test/contract/bus-contract.ts';
import { EmbeddedBus } from './bus-embedded.ts';

busContract('embedded', async () => {
  const bus = new EmbeddedBus();
  return { bus, other: bus, openAnother: async () => new EmbeddedBus(), stop: () => bus.close() };
});
