import { storeContract } from '../../test/contract/store-contract.ts';
import { EmbeddedStore } from './store-embedded.ts';

storeContract('embedded', async () => {
  const store = new EmbeddedStore();
  return {
    store,
    revokeLease: async (id) => store.revokeLease(id),
    openAnother: async () => new EmbeddedStore(),
    stop: () => store.close(),
  };
});
