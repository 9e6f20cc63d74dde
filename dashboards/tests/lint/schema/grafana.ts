// What Grafana takes a dashboard file for: the types of `@grafana/schema` and of the Foundation SDK, put together.
//
// In: types that Grafana generates from its own schema. Out: `Classic` and `V2`, to which the test assigns each file as a
// literal, so that the compiler refuses a key that is missing, unknown or of the wrong type, at every depth.
// Left out on purpose: options of transformations, which that schema leaves open as well.

import type { AnnotationQuery, Dashboard, DataTransformerConfig, Panel, RowPanel, VariableModel } from '@grafana/schema';
import type * as v2 from '@grafana/schema/apis/dashboard.grafana.app/v2';
import type * as bargauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as nodegraph from '@grafana/schema/dist/esm/raw/composable/nodegraph/panelcfg/x/NodeGraphPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as text from '@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';
import type { Dataquery as PrometheusQuery } from '@grafana/grafana-foundation-sdk/prometheus';
import type { Dataquery as TempoQuery } from '@grafana/grafana-foundation-sdk/tempo';
import type * as units from '@grafana/grafana-foundation-sdk/units';

/** A type as JSON spells it: enums are their values, and there are no methods. */
type Json<T> = unknown extends T ? T
  : T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends readonly (infer Item)[] ? Json<Item>[]
  : { [Key in keyof T as T[Key] extends (...args: never[]) => unknown ? never : Key]: Json<T[Key]> };

type Unit = (typeof units)[keyof typeof units];

/** Options that may be left out because the panel has a default for them; what is given must fit. */
type Given<Options> = { [Key in keyof Json<Options>]?: Json<Options>[Key] };

type Fields<From, Custom> = Omit<Json<From>, 'custom' | 'unit'> & { custom?: Given<Custom>; unit?: Unit };

/** What may be different for some fields: a setting that fields have, or one of the panel's own. */
type Property<From, Custom> =
  | { [Key in keyof Fields<From, Custom>]-?: { id: Key; value: Fields<From, Custom>[Key] } }[Exclude<keyof Fields<From, Custom>, 'custom'>]
  | { [Key in keyof Given<Custom>]-?: { id: `custom.${Key & string}`; value: Given<Custom>[Key] } }[keyof Given<Custom>];

/** What Grafana before 12.2 calls `custom.hideFrom` in tables; files say both, and newer ones pass over it. */
type Older = { id: 'custom.hidden'; value: boolean };

type Override<From, Custom> = {
  matcher: { id: 'byName' | 'byRegexp' | 'byFrameRefID' | 'byType'; options: string };
  properties: (Property<From, Custom> | Older)[];
};

type ClassicFields = NonNullable<Panel['fieldConfig']>['defaults'];

type FieldConfig<From, Custom> = { defaults: Fields<From, Custom>; overrides: Override<From, Custom>[] };

/** A reference that a variable fills in, so that a file works with every installation's data sources. */
type Picked<Type extends string> = { type: Type; uid: '${datasource}' | `\${${Type}_datasource}` };

type Source = Picked<'prometheus'> | Picked<'tempo'>;

type Query<Spec> = Omit<Json<Spec>, 'datasource' | 'refId'> & { refId: string };

type Target = (Query<PrometheusQuery> & { datasource: Picked<'prometheus'> })
  | (Query<TempoQuery> & { datasource: Picked<'tempo'> });

type PanelOf<Type extends string, Options, Custom> =
  Omit<Json<Panel>, 'type' | 'options' | 'fieldConfig' | 'targets' | 'datasource' | 'transformations'> & {
    type: Type;
    id: number;
    title: string;
    gridPos: NonNullable<Json<Panel>['gridPos']>;
    datasource?: Source;
    targets?: Target[];
    fieldConfig?: FieldConfig<ClassicFields, Custom>;
    options: Given<Options>;
    transformations?: Json<DataTransformerConfig>[];
  };

type AnyPanel =
  | PanelOf<'bargauge', bargauge.Options, never>
  | PanelOf<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | PanelOf<'nodeGraph', nodegraph.Options, never>
  | PanelOf<'stat', stat.Options, never>
  | PanelOf<'table', table.Options, table.FieldConfig>
  | PanelOf<'text', text.Options, never>
  | PanelOf<'timeseries', timeseries.Options, timeseries.FieldConfig>;

type Row = Omit<Json<RowPanel>, 'panels'> & { panels: AnyPanel[] };

/** Of an annotation, Grafana's schema knows the frame; the rest is the data source's, here what that of Prometheus reads. */
type Annotation = Omit<Json<AnnotationQuery>, 'target' | 'datasource'> & {
  datasource: Picked<'prometheus'>;
  expr: string;
  step?: string;
  tagKeys?: string;
  textFormat?: string;
  titleFormat?: string;
  useValueForTime?: boolean;
};

/** The classic model: what files, the sidecar, the operator and `/api/dashboards/db` take. */
export type Classic = Omit<Json<Dashboard>, 'annotations' | 'id' | 'panels' | 'schemaVersion' | 'templating' | 'version'> & {
  uid: string;
  title: string;
  schemaVersion: 42;
  annotations: { list: Annotation[] };
  templating: { list: Json<VariableModel>[] };
  panels: (AnyPanel | Row)[];
};

type VizOf<Group extends string, Options, Custom> = Omit<v2.VizConfigKind, 'group' | 'spec'> & {
  group: Group;
  spec: {
    options: Given<Options>;
    fieldConfig: FieldConfig<v2.FieldConfig, Custom>;
  };
};

type AnyViz =
  | VizOf<'bargauge', bargauge.Options, never>
  | VizOf<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | VizOf<'nodeGraph', nodegraph.Options, never>
  | VizOf<'stat', stat.Options, never>
  | VizOf<'table', table.Options, table.FieldConfig>
  | VizOf<'text', text.Options, never>
  | VizOf<'timeseries', timeseries.Options, timeseries.FieldConfig>;

type PanelKind = { kind: 'Panel'; spec: Omit<v2.PanelSpec, 'vizConfig'> & { vizConfig: AnyViz } };

/** The resource of Grafana 12 and 13. */
export type V2 = {
  apiVersion: 'dashboard.grafana.app/v2';
  kind: 'Dashboard';
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  spec: Omit<v2.Spec, 'elements'> & { elements: Record<string, PanelKind> };
};
