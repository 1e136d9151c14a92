/** Hunyuan with experts: heads are normalised after rotation, sizes may be lists with one number a layer. */
import type { ConfigReader } from '../config/config-reader.ts';
import { readExperts } from '../config/experts.ts';
import { allBiases, readGrouped } from '../config/grouped.ts';
import { readRotary } from '../config/rotary.ts';
import { readSizes } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';

/** Files have these of other models of the house, with values that change nothing. */
function refuseOthers(config: ConfigReader): void {
  for (const name of ['use_cla', 'position_embedding_xdrope', 'group_limited_greedy', 'mlp_bias'])
    config.only(name, false);
  for (const name of ['n_group', 'topk_group', 'routed_scaling_factor']) config.only(name, false, 1);
  config.only('moe_layer_num_skipped', 0);
  config.only('norm_topk_prob', true);
  config.only('norm_type', 'rms', 'hf_rms');
  config.only('use_rotary_pos_emb', true);
  config.ignore(otherModels);
}

/** Of sharing caches between layers, of classifiers, and of images. */
const otherModels = [
  'cla_share_factor',
  'add_classification_head',
  'class_num',
  'pool_type',
  'skip_cls_token',
  'dense_list',
  'num_media_embeds',
  'anyres_pooling_size',
  'anyres_vit_two_views',
  'vit_add_patchemb_bias',
  'vit_input_resolution',
  'vit_mapping_type',
  'vit_norm_type',
  'vit_patch',
  'vit_remove_prenorm',
  'vit_token',
  'vit_type',
  'vit_used_rms_norm',
];

export const hunyuanMoe: Family = (config) => {
  refuseOthers(config);
  const attention = readGrouped(config, {
    ...allBiases(config),
    norm: config.flag('use_qk_norm', true) ? 'after-rotation' : 'none',
  });
  const width = config.commonSize(['moe_intermediate_size', 'intermediate_size']);
  const shared = config.flag('use_mixed_mlp_moe', true)
    ? { width: config.commonSize('num_shared_expert') * width, gated: false }
    : null;
  config.ignore(['num_shared_expert']); // Where there is none.
  const mlp = readExperts(config, { width, shared });
  return {
    ...readSizes(config),
    rotary: readRotary(config, { width: attention.headDim, pairs: 'halves' }),
    layers: eachLayer(config, () => ({ attention, mlp })),
  };
};
