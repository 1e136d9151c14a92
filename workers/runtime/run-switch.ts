/**
 * Ends the runs of another thread. Whoever starts a rank's thread makes the switch and hands its address over; every run of
 * that thread looks at it between nodes. It outlives the thread's runtime: release it after the thread has ended.
 */
import { type Address, createEnvironment, loadOrtApi, type OrtApi } from './ort-api.ts';
import { tuneAllocator } from './process-memory.ts';

/**
 * By library, kept while the process lives: ONNX Runtime loses some hundred kilobytes whenever its last environment
 * goes and another comes.
 */
const environments = new Map<OrtApi, Address>();

export class RunSwitch {
  /** For OrtOptions.runSwitch, in any thread of this process. */
  readonly address: Address;
  readonly #api: OrtApi;

  /** `library` as in OrtOptions. Errors: RUNTIME_ERROR. */
  constructor(library?: string) {
    this.#api = loadOrtApi(library);
    if (!environments.has(this.#api)) {
      tuneAllocator();
      environments.set(this.#api, createEnvironment(this.#api));
    }
    this.address = this.#api.create('createRunOptions');
  }

  /** The run under way and all later ones end with RUNTIME_ERROR. */
  terminate(): void {
    this.#api.check('setTerminate', this.address);
  }

  release(): void {
    this.#api.release('releaseRunOptions', this.address);
  }
}
